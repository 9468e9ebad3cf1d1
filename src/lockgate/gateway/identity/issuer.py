"""The built-in issuer: short-lived EdDSA tokens by the deployment's issuer key; it must not be believed in human tokens outside dev."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lockgate.contract.keyset import keyid_of
from lockgate.gateway.identity.claims import DEV_CLAIM
from lockgate.gateway.identity.jwks import InlineKeys
from lockgate.gateway.identity.port import Audience, Unauthenticated
from lockgate.gateway.identity.settings import IssuerSettings
from lockgate.gateway.identity.token import take_apart

MAX_TTL: Final = 30 * 24 * 3600


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """What a token shall say. `ttl` is seconds; `owner` is a subject of the issuer or `issuer#subject`; `jti` is unique and unguessable.

    `on_behalf_of` makes an agent's token a delegated one (`act`): `subject` acts for that human.
    """

    subject: str
    audience: Audience
    jti: str
    ttl: int = 3600
    owner: str | None = None
    on_behalf_of: str | None = None
    roles: tuple[str, ...] = ()
    tenant: str = "default"
    auth_time: int | None = None


@dataclass(frozen=True, slots=True)
class BuiltinIssuer:
    """Makes tokens. `issuer` is its URL; `dev` stamps every token with `lockgate_dev`, which production refuses."""

    issuer: str
    agent_audience: str
    human_audience: str
    key: Ed25519PrivateKey
    dev: bool

    def issue(self, request: TokenRequest, now: float) -> str:
        """A signed token, issued `now` (Unix seconds). Raises ValueError naming the field: a ttl out of bounds, a human outside dev."""
        if not 0 < request.ttl <= MAX_TTL:
            raise ValueError(f"ttl: must be 1 to {MAX_TTL} seconds")
        if not request.subject or not request.jti:
            raise ValueError("subject: subject and jti must not be empty")
        human = request.audience is Audience.HUMAN
        if human and not self.dev:
            raise ValueError("audience: production takes human tokens only from your identity provider")
        if human and (request.owner or request.on_behalf_of):
            raise ValueError("owner: a human has no owner and acts for nobody else")
        return self._sign(
            {**self._claims(request, int(now)), **(_of_human(request, int(now)) if human else _of_agent(request))}
        )

    def settings(
        self, *, roles: Mapping[str, str], tenants: tuple[str, ...] = ("default",), owner_issuers: tuple[str, ...] = ()
    ) -> IssuerSettings:
        """How the verifier must be told about this issuer. `roles` maps its token roles to Lockgate roles (see `same_roles`)."""
        return IssuerSettings(
            issuer=self.issuer,
            keys=InlineKeys(self.jwks()),
            algorithms=frozenset({"EdDSA"}),
            token_types=frozenset({"at+jwt"}),
            max_lifetime=MAX_TTL,
            tenant_claim="tenant",
            tenants=tenants,
            roles=roles,
            owner_claim="owner",
            owner_issuers=owner_issuers,
            builtin=True,
        )

    def jwks(self) -> dict[str, Any]:
        """The public half, to be published or configured."""
        public = self._public()
        jwk = {
            "kty": "OKP",
            "crv": "Ed25519",
            "x": _encode(public),
            "kid": keyid_of(public),
            "use": "sig",
            "alg": "EdDSA",
        }
        return {"keys": [jwk]}

    def _claims(self, request: TokenRequest, now: int) -> dict[str, Any]:
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "sub": request.subject,
            "aud": self.agent_audience if request.audience is Audience.AGENT else self.human_audience,
            "iat": now,
            "exp": now + request.ttl,
            "jti": request.jti,
            "tenant": request.tenant,
            "roles": list(request.roles),
        }
        return claims | ({DEV_CLAIM: True} if self.dev else {})

    def _sign(self, claims: dict[str, Any]) -> str:
        header = {"alg": "EdDSA", "kid": keyid_of(self._public()), "typ": "at+jwt"}
        signed = f"{_encode(_json(header))}.{_encode(_json(claims))}"
        return f"{signed}.{_encode(self.key.sign(signed.encode()))}"

    def _public(self) -> bytes:
        return self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def same_roles(names: tuple[str, ...]) -> dict[str, str]:
    """The mapping that takes each of these token roles for the Lockgate role of the same name."""
    return {name: name for name in names}


def inspect(token: str) -> dict[str, Any]:
    """What a token says, NOT verified: for people to look at, never to decide on. Raises ValueError when it is no JWT."""
    try:
        parts = take_apart(token)
    except Unauthenticated as refused:
        raise ValueError(f"token: {refused.description}") from None
    return {"verified": False, "header": parts.header, "claims": parts.claims, "digest": parts.digest}


def _of_human(request: TokenRequest, now: int) -> dict[str, Any]:
    return {"auth_time": now if request.auth_time is None else request.auth_time}


def _of_agent(request: TokenRequest) -> dict[str, Any]:
    owner = {"owner": request.owner} if request.owner else {}
    if request.on_behalf_of:
        return {**owner, "sub": request.on_behalf_of, "act": {"sub": request.subject}, "client_id": request.subject}
    return {**owner, "client_id": request.subject}


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
