"""Takes the bearer token off a request and has it verified for the door it was shown at; it must not pass the token on to anything."""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import Scope

from lockgate.contract.intent import Principal
from lockgate.gateway.api.answers import Fault
from lockgate.gateway.api.guard import one_header
from lockgate.gateway.identity.challenge import www_authenticate
from lockgate.gateway.identity.port import Audience, Unauthenticated

Verify = Callable[[str, Audience], Principal]
"""`IdentityVerifier.verify` with the clock bound. Raises Unauthenticated."""


OnRefused = Callable[[Audience, Unauthenticated], None]


def unheard(audience: Audience, refused: Unauthenticated) -> None:
    """Nobody counts."""


class Doorkeeper:
    """Verifies callers of one protected resource (its URL) and writes the challenge of RFC 6750 and RFC 9728 when it refuses."""

    def __init__(
        self, verify: Verify, audience: Audience, resource: str, scopes: tuple[str, ...], refused: OnRefused = unheard
    ) -> None:
        """`refused` hears of every refusal, so that it is counted."""
        self._refused = refused
        self._verify = verify
        self._audience = audience
        self._resource = resource
        self._scopes = scopes

    def principal(self, scope: Scope) -> Principal:
        """The verified caller. Raises Fault 401, or 403 for insufficient_scope, with WWW-Authenticate."""
        try:
            return self._verify(bearer_token(scope), self._audience)
        except Unauthenticated as refused:
            self._refused(self._audience, refused)
            raise self._challenge(refused) from None

    def _challenge(self, refused: Unauthenticated) -> Fault:
        fix = f"Send a bearer token issued for {self._resource}."
        fault = Fault(
            refused.status, refused.error or "unauthenticated", refused.description, field="authorization", fix=fix
        )
        fault.headers = (
            (b"www-authenticate", www_authenticate(self._resource, refused, self._scopes).encode("latin-1")),
        )
        return fault


def bearer_token(scope: Scope) -> str:
    """The token of the Authorization header, the only place it is looked for. Raises Unauthenticated, or Fault for two headers."""
    header = one_header(scope, b"authorization")
    if header is None:
        raise Unauthenticated(None, "no bearer token was sent")
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("invalid_request", "the Authorization header must be `Bearer` and a token")
    return token.strip()
