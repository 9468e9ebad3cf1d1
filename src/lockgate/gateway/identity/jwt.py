"""The JWT verifier: one function of numbered checks, and a cache that never outlives a token, a key or a revocation."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass

from lockgate.contract.intent import Principal
from lockgate.gateway.identity.claims import Verified, check_auth_age, read_claims
from lockgate.gateway.identity.jwks import Keys, KeysUnavailable
from lockgate.gateway.identity.port import Audience, RevocationView
from lockgate.gateway.identity.settings import IdentitySettings, IssuerSettings
from lockgate.gateway.identity.token import check_signature, invalid, take_apart


@dataclass(frozen=True, slots=True)
class _Known:
    verified: Verified
    issuer: IssuerSettings
    keys: Keys


class JwtVerifier:
    """Verifies bearer JWTs of the configured issuers (RFC 7519, RFC 9068, RFC 8725). Not for several threads at once."""

    def __init__(self, settings: IdentitySettings, revocations: RevocationView) -> None:
        """`revocations` is asked at every verification."""
        self._settings = settings
        self._issuers = {issuer.issuer: issuer for issuer in settings.issuers}
        self._revocations = revocations
        self._cache: OrderedDict[tuple[Audience, bytes], _Known] = OrderedDict()

    def verify(self, token: str, *, audience: Audience, now: float) -> Principal:
        """The principal of a token shown at a door; `now` is Unix seconds. Raises Unauthenticated."""
        key = (audience, hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest())
        known = self._cached(key, now)
        if known is None:
            known = self._verify_anew(token, audience, now)
            self._remember(key, known)
        principal = known.verified.principal
        # Age of sign-in and revocation change while a token lives, so they MUST be looked at on every use, cached or not (invariant 14).
        check_auth_age(principal, self._settings, known.issuer.leeway, now)
        self._check_revoked(known.verified)
        return principal

    def _verify_anew(self, token: str, audience: Audience, now: float) -> _Known:
        # 1. Shape: size, strict base64url, strict JSON, no header that could name its own key.
        parts = take_apart(token)
        # 2. Issuer: exactly one that is configured.
        name = parts.claims.get("iss")
        issuer = self._issuers.get(name) if isinstance(name, str) else None
        if issuer is None:
            raise invalid("iss: the token's issuer is not trusted here")
        # 3. Signature: by a key of that issuer, under an algorithm allowed for it.
        keys = self._keys(issuer, now)
        check_signature(parts, keys, issuer.algorithms, issuer.token_types)
        # 4. Claims: times, audience, dev stamp, and who that makes the caller (TRUST §6).
        return _Known(read_claims(parts, issuer, self._settings, audience, now), issuer, keys)

    def _cached(self, key: tuple[Audience, bytes], now: float) -> _Known | None:
        known = self._cache.get(key)
        if known is None:
            return None
        if now >= known.verified.ends_at or self._keys(known.issuer, now) is not known.keys:
            del self._cache[key]
            return None
        self._cache.move_to_end(key)
        return known

    def _remember(self, key: tuple[Audience, bytes], known: _Known) -> None:
        self._cache[key] = known
        while len(self._cache) > self._settings.cache_size:
            self._cache.popitem(last=False)

    def _keys(self, issuer: IssuerSettings, now: float) -> Keys:
        try:
            return issuer.keys.keys(now)
        except KeysUnavailable:
            raise invalid("the keys of the token's issuer cannot be read; tell the operator") from None

    def _check_revoked(self, verified: Verified) -> None:
        principal, issued_at = verified.principal, int(verified.issued_at * 1000)
        # Everyone who stands behind the caller counts: an agent does not outlive its owner or the human it acts for.
        for person in {principal.id, *principal.persons}:
            if self._revocations.is_revoked(principal.token_id, person, issued_at):
                raise invalid("the token, or someone it speaks for, has been revoked")
