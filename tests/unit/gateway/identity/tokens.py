"""Makes tokens by hand, so that every part of one can be wrong."""

import base64
import json
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc.jwk import ECKey, OKPKey, RSAKey

from lockgate.gateway.identity.jwks import InlineKeys
from lockgate.gateway.identity.jwt import JwtVerifier
from lockgate.gateway.identity.port import Audience, RevocationView
from lockgate.gateway.identity.settings import IdentitySettings, IssuerSettings
from lockgate.testing.identity_verifier import NOW, RevokedSet

ISSUER = "https://idp.example"
MCP = "https://lockgate.example/mcp"
API = "https://lockgate.example/api"

ED = Ed25519PrivateKey.from_private_bytes(b"1" * 32)
OTHER_ED = Ed25519PrivateKey.from_private_bytes(b"2" * 32)
EC = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(65537, 2048)
GONE: Any = object()
"""As a claim's or header's value: leave it out."""


def jwk(kind: Any, key: Any, kid: str, **more: Any) -> dict[str, Any]:
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return {**kind.import_key(pem).as_dict(private=False), "kid": kid, **more}


JWKS = {"keys": [jwk(OKPKey, ED, "ed"), jwk(ECKey, EC, "ec"), jwk(RSAKey, RSA, "rsa", use="sig")]}


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signature(algorithm: Any, message: bytes) -> bytes:
    if algorithm == "ES256":
        r, s = decode_dss_signature(EC.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")
    if algorithm == "RS256":
        return RSA.sign(message, padding.PKCS1v15(), hashes.SHA256())
    return ED.sign(message)


def encode(header: dict[str, Any] | bytes, claims: dict[str, Any] | bytes, sign: Any = None) -> str:
    raw = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, claims)]
    signed = ".".join(map(b64, raw)).encode()
    algorithm = header.get("alg") if isinstance(header, dict) else "EdDSA"
    return f"{signed.decode()}.{b64(sign(signed) if sign else signature(algorithm, signed))}"


def claims(audience: Any = MCP, **changes: Any) -> dict[str, Any]:
    values = {
        "iss": ISSUER,
        "sub": "alice",
        "aud": audience,
        "iat": int(NOW) - 10,
        "exp": int(NOW) + 600,
        "jti": "t1",
        **changes,
    }
    return {name: value for name, value in values.items() if value is not GONE}


def human_claims(**changes: Any) -> dict[str, Any]:
    return claims(**{"audience": API, "auth_time": int(NOW) - 60, **changes})


def header(**changes: Any) -> dict[str, Any]:
    values = {"alg": "EdDSA", "kid": "ed", "typ": "at+jwt", **changes}
    return {name: value for name, value in values.items() if value is not GONE}


def token(audience: Any = MCP, **changes: Any) -> str:
    return encode(header(), claims(audience, **changes))


def human(**changes: Any) -> str:
    return encode(header(), human_claims(**changes))


def issuer(**changes: Any) -> IssuerSettings:
    return IssuerSettings(**{"issuer": ISSUER, "keys": InlineKeys(JWKS), **changes})


def verifier(*issuers: IssuerSettings, revoked: RevocationView | None = None, **changes: Any) -> JwtVerifier:
    return JwtVerifier(IdentitySettings(MCP, API, issuers or (issuer(),), **changes), revoked or RevokedSet())


def at_mcp(text: str, *issuers: IssuerSettings, now: float = NOW, **changes: Any) -> Any:
    return verifier(*issuers, **changes).verify(text, audience=Audience.AGENT, now=now)


def at_api(text: str, *issuers: IssuerSettings, now: float = NOW, **changes: Any) -> Any:
    return verifier(*issuers, **changes).verify(text, audience=Audience.HUMAN, now=now)
