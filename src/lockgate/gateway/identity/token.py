"""Takes a compact JWT apart and puts it to its key, strictly; it must not look at what the claims mean."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import Any, Final

from lockgate.contract import strictjson
from lockgate.gateway.identity.jwks import Keys
from lockgate.gateway.identity.port import Unauthenticated

MAX_TOKEN: Final = 8 << 10
"""Bytes of a whole token."""

MAX_CLAIM_DEPTH: Final = 8
_COMPACT: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\Z")
_REFUSED_HEADERS: Final = frozenset({"crit", "b64", "jwk", "jku", "x5u", "x5c", "zip", "enc", "epk", "cty"})


@dataclass(frozen=True, slots=True)
class Parts:
    """A token taken apart, nothing of it believed yet. `digest` names what is signed: it is the same however the signature is written."""

    header: dict[str, Any]
    claims: dict[str, Any]
    signed: bytes
    signature: bytes

    @property
    def digest(self) -> str:
        """`sha256:` of the signed part; the id of a token without `jti`."""
        return "sha256:" + hashlib.sha256(self.signed).hexdigest()


def invalid(description: str) -> Unauthenticated:
    """The RFC 6750 `invalid_token`."""
    return Unauthenticated("invalid_token", description)


def take_apart(token: str) -> Parts:
    """Parse a compact JWS. Raises Unauthenticated: too large, not base64url in its only form, duplicate keys, refused header members."""
    if not token:
        raise Unauthenticated(None, "no bearer token was sent")
    if len(token) > MAX_TOKEN:
        raise invalid(f"the token is larger than {MAX_TOKEN} bytes")
    if not _COMPACT.match(token):
        raise invalid("the token is no compact JWT")
    head, body, signature = token.split(".")
    header = _object(head, "header")
    refused = sorted(_REFUSED_HEADERS & set(header))
    if refused:
        raise invalid(f"the token's header has {refused[0]}, which is never honoured")
    return Parts(header, _object(body, "claims"), f"{head}.{body}".encode(), _decode(signature, "signature"))


def check_signature(parts: Parts, keys: Keys, algorithms: frozenset[str], types: frozenset[str]) -> None:
    """Verify the signature by one of the issuer's `keys`, under an allowed algorithm and `typ`. Raises Unauthenticated."""
    algorithm = parts.header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in algorithms:
        raise invalid("the token's alg is not allowed for its issuer")
    kind = parts.header.get("typ", "")
    if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in types:
        raise invalid("the token's typ is not that of an access token")
    kid = parts.header.get("kid")
    if kid is None and len(keys) == 1:
        kid = next(iter(keys))
    key = keys.get(kid) if isinstance(kid, str) else None
    if key is None:
        raise invalid("the token's kid names no key of its issuer")
    if not key.verify(algorithm, parts.signed, parts.signature):
        raise invalid("the token's signature does not verify")


def _object(segment: str, what: str) -> dict[str, Any]:
    try:
        value = strictjson.loads(_decode(segment, what), max_bytes=MAX_TOKEN, max_depth=MAX_CLAIM_DEPTH)
    except strictjson.StrictJSONError:
        raise invalid(
            f"the token's {what} is not strict JSON (duplicate keys, bad numbers, or nested too deep)"
        ) from None
    if not isinstance(value, dict):
        raise invalid(f"the token's {what} is no JSON object")
    return value


def _decode(segment: str, what: str) -> bytes:
    try:
        data = base64.b64decode(segment + "=" * (-len(segment) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise invalid(f"the token's {what} is not base64url") from None
    if base64.urlsafe_b64encode(data).rstrip(b"=").decode() != segment:
        raise invalid(f"the token's {what} is base64url with stray bits")
    return data
