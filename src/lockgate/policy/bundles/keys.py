"""Keys that sign and verify bundles, read from PEM files. What a key may be used for is decided by its kind, never by what a signature says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from lockgate.keys.privatefile import KeyFileError, read_private, write_private, write_public

MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 8192
MAX_PUBLIC_BYTES: Final = 64 << 10

Key = ECKey | OKPKey | RSAKey


@dataclass(frozen=True, slots=True)
class BundleKey:
    """One key under its key id, and the one algorithm it is used with: ES256, RS256 or EdDSA, which OPA has too."""

    id: str
    algorithm: str
    key: Key

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Whether `signature` is this key's over `message`."""
        algorithm: Any = JWSRegistry.algorithms[self.algorithm]
        return bool(algorithm.verify(message, signature, self.key))

    def sign(self, message: bytes) -> bytes:
        """The signature over `message`; the key must be a private one."""
        algorithm: Any = JWSRegistry.algorithms[self.algorithm]
        signature: bytes = algorithm.sign(message, self.key)
        return signature


def verifying_key(key_id: str, path: Path) -> BundleKey:
    """The public key of a PEM file. Raises KeyFileError, also for a private key: who only verifies must not have it."""
    try:
        with path.open("rb") as file:
            pem = file.read(MAX_PUBLIC_BYTES + 1)
    except OSError as error:
        raise KeyFileError(path, f"cannot be read: {error.strerror}") from None
    if b"PRIVATE KEY" in pem:
        raise KeyFileError(path, "holds a private key; give the public one: whoever verifies must not be able to sign")
    return _key(key_id, path, pem)


def signing_key(key_id: str, path: Path) -> BundleKey:
    """The private key of a PEM file that nobody but its owner can reach. Raises KeyFileError."""
    found = _key(key_id, path, read_private(path, dev=False))
    if not found.key.is_private:
        raise KeyFileError(path, "holds no private key")
    return found


def generate_signing_key(path: Path) -> None:
    """Make a P-256 key (ES256) at `path`, mode 0600. Raises KeyFileError when the file exists."""
    key = ec.generate_private_key(ec.SECP256R1())
    write_private(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def write_verifying_key(private: Path, public: Path) -> None:
    """Write the public half of the signing key `private` to `public`, to be pinned by gateways. Raises KeyFileError."""
    key: Any = signing_key("", private).key.public_key
    write_public(public, key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def _key(key_id: str, path: Path, pem: bytes) -> BundleKey:
    for kind in (ECKey, RSAKey, OKPKey):
        try:
            key: Any = kind.import_key(pem)
        except (JoseError, ValueError, TypeError):
            continue
        algorithm = _algorithm(key)
        if algorithm is not None:
            return BundleKey(key_id, algorithm, key)
    raise KeyFileError(path, f"must be an unencrypted PEM key: P-256, Ed25519, or RSA of {MIN_RSA_BITS} bits or more")


def _algorithm(key: Key) -> str | None:
    if isinstance(key, RSAKey):
        return "RS256" if MIN_RSA_BITS <= key.public_key.key_size <= MAX_RSA_BITS else None
    return {"P-256": "ES256", "Ed25519": "EdDSA"}.get(key.curve_name)
