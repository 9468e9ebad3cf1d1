"""The public keys of an issuer, from a document or a file that is read again when it changes; it must not take a key from a token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey, import_key
from joserfc.jws import JWSRegistry

from lockgate.contract import strictjson

SUPPORTED_ALGORITHMS: Final = frozenset({"EdDSA", "Ed25519", "ES256", "ES384", "PS256", "RS256"})
MAX_JWKS_BYTES: Final = 256 << 10
MAX_KEYS: Final = 64
MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 8192
RECHECK_SECONDS: Final = 1.0
"""How old the look at a key file may be."""

_CURVES: Final = {"EdDSA": "Ed25519", "Ed25519": "Ed25519", "ES256": "P-256", "ES384": "P-384"}
_KINDS: Final[dict[str, type[OKPKey] | type[ECKey] | type[RSAKey]]] = {
    "EdDSA": OKPKey,
    "Ed25519": OKPKey,
    "ES256": ECKey,
    "ES384": ECKey,
    "PS256": RSAKey,
    "RS256": RSAKey,
}


class KeysUnavailable(Exception):
    """The issuer's keys cannot be read or are malformed, so none of its tokens can be believed; put the JWKS file right."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """One public key with the algorithms it may verify."""

    kid: str
    algorithms: frozenset[str]
    key: OKPKey | ECKey | RSAKey

    def verify(self, algorithm: str, message: bytes, signature: bytes) -> bool:
        """True when `signature` is this key's over `message` under an algorithm it may be used with."""
        return algorithm in self.algorithms and bool(
            JWSRegistry.algorithms[algorithm].verify(message, signature, self.key)
        )


Keys = Mapping[str, PublicKey]
"""An issuer's public keys by key id. A new object whenever the keys changed."""


class KeySource(Protocol):
    """Where an issuer's keys come from: a document, a file, later a URL."""

    def keys(self, now: float) -> Keys:
        """The keys in force; `now` is Unix seconds. Raises KeysUnavailable."""
        ...


class InlineKeys:
    """Keys given as a JWKS document."""

    def __init__(self, jwks: dict[str, Any]) -> None:
        """Raises KeysUnavailable."""
        self._keys = parse_jwks(jwks)

    def keys(self, now: float) -> Keys:
        """The same keys always."""
        return self._keys


class FileKeys:
    """Keys in a JWKS file, read again when its time, size or inode changes. A broken file is no keys: withdrawing a key must work."""

    def __init__(self, path: Path) -> None:
        """Nothing is read yet."""
        self._path = path
        self._checked = float("-inf")
        self._seen: tuple[int, int, int] | None = None
        self._keys: Keys | None = None
        self.last_error: str | None = None

    def keys(self, now: float) -> Keys:
        """The file's keys, looked at again after a second. Raises KeysUnavailable."""
        if not 0 <= now - self._checked < RECHECK_SECONDS:
            self._look()
            self._checked = now
        if self._keys is None:
            raise KeysUnavailable(self.last_error or "no keys")
        return self._keys

    def _look(self) -> None:
        try:
            stat = self._path.stat()
            seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if seen == self._seen:
                return
            with self._path.open("rb") as file:
                data = file.read(MAX_JWKS_BYTES + 1)
            self._keys, self._seen, self.last_error = parse_jwks(_document(data)), seen, None
        except OSError as error:
            self._keys, self._seen, self.last_error = None, None, f"{self._path.name} cannot be read: {error.strerror}"
        except KeysUnavailable as error:
            self._keys, self._seen, self.last_error = None, None, f"{self._path.name}: {error}"


def parse_jwks(document: Any) -> Keys:
    """The usable signature keys of a JWKS document; private and symmetric keys are refused, encryption keys left out. Raises KeysUnavailable."""
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not 0 < len(entries) <= MAX_KEYS:
        raise KeysUnavailable(f"keys: must be a list of 1 to {MAX_KEYS} keys")
    found: dict[str, PublicKey] = {}
    for index, entry in enumerate(entries):
        key = _public_key(entry, f"keys[{index}]")
        if key is None:
            continue
        if key.kid in found:
            raise KeysUnavailable(f"keys[{index}].kid: stands twice")
        found[key.kid] = key
    if not found:
        raise KeysUnavailable("keys: none of them can verify a signature")
    return found


def _document(data: bytes) -> Any:
    try:
        return strictjson.loads(data, max_bytes=MAX_JWKS_BYTES, max_depth=6)
    except strictjson.StrictJSONError as error:
        raise KeysUnavailable(str(error)) from None


def _public_key(entry: Any, where: str) -> PublicKey | None:
    if not isinstance(entry, dict):
        raise KeysUnavailable(f"{where}: must be an object")
    if entry.get("kty") not in ("OKP", "EC", "RSA"):
        raise KeysUnavailable(f"{where}.kty: must be OKP, EC or RSA; a shared secret never verifies a token here")
    if "d" in entry:
        raise KeysUnavailable(
            f"{where}: is a private key; a JWKS holds public keys only. Replace that key, it is no secret any more"
        )
    if entry.get("use", "sig") != "sig" or "verify" not in entry.get("key_ops", ["verify"]):
        return None
    try:
        key = import_key(entry)
    except (JoseError, ValueError, TypeError):
        raise KeysUnavailable(f"{where}: is not a valid key") from None
    if not isinstance(key, OKPKey | ECKey | RSAKey):
        return None
    algorithms = frozenset(name for name in SUPPORTED_ALGORITHMS if _fits(name, key))
    if "alg" in entry:
        algorithms &= {"EdDSA", "Ed25519"} if entry["alg"] in ("EdDSA", "Ed25519") else {str(entry["alg"])}
    kid = entry.get("kid") or key.thumbprint()
    if not algorithms or not isinstance(kid, str):
        return None
    return PublicKey(kid, algorithms, key)


def _fits(algorithm: str, key: OKPKey | ECKey | RSAKey) -> bool:
    if not isinstance(key, _KINDS[algorithm]):
        return False
    if isinstance(key, RSAKey):
        return MIN_RSA_BITS <= key.public_key.key_size <= MAX_RSA_BITS
    return key.curve_name == _CURVES[algorithm]
