"""The Signer port and its first provider, an Ed25519 key in a file; it must not let the private key out (TRUST §1)."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from lockgate.contract.dsse import EnvelopeSigner
from lockgate.contract.keyset import keyid_of
from lockgate.keys.privatefile import KeyFileError, read_private, write_private, write_public

PUBLIC_BYTES = 32


class Signer(EnvelopeSigner, Protocol):
    """One private key somewhere: a file, later a KMS or an HSM. `public` is 32 raw Ed25519 bytes, `keyid` the key's name by `keyid_of`."""

    public: bytes


class FileSigner:
    """An Ed25519 key of a PKCS 8 PEM file, read once. Raises KeyFileError when others can read the file and this is no `dev`."""

    def __init__(self, path: Path, *, dev: bool = False) -> None:
        self._key = read_private_key(path, dev=dev)
        self.public: bytes = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.keyid: str = keyid_of(self.public)

    def sign(self, message: bytes) -> bytes:
        """The raw Ed25519 signature (64 bytes)."""
        return self._key.sign(message)

    def __repr__(self) -> str:
        return f"FileSigner(keyid={self.keyid!r})"


def generate_key(path: Path) -> FileSigner:
    """Make a new Ed25519 key file, mode 0600. Raises KeyFileError when the file exists."""
    key = Ed25519PrivateKey.generate()
    write_private(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return FileSigner(path)


def read_private_key(path: Path, *, dev: bool) -> Ed25519PrivateKey:
    """The key itself, for libraries that sign on their own (the built-in token issuer). Raises KeyFileError."""
    try:
        key = load_pem_private_key(read_private(path, dev=dev), password=None)
    except KeyFileError:
        raise
    except (ValueError, TypeError):
        raise KeyFileError(path, "is not an unencrypted PKCS 8 PEM key; make one with `lockgate init`") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(path, "holds a key that is not Ed25519")
    return key


def write_public_key(path: Path, public: bytes) -> None:
    """Write a public key as the base64 of its 32 raw bytes, the form runners and jobs pin. Raises KeyFileError when the file exists."""
    write_public(path, base64.b64encode(public) + b"\n")


def read_public_key(path: Path) -> bytes:
    """The 32 raw bytes of a file made by `write_public_key`. Raises KeyFileError."""
    try:
        text = path.read_bytes()[:1024]
    except OSError as error:
        raise KeyFileError(path, f"cannot be read: {error.strerror}") from None
    try:
        raw = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != PUBLIC_BYTES:
        raise KeyFileError(path, f"must hold the base64 of {PUBLIC_BYTES} bytes, an Ed25519 public key")
    return raw
