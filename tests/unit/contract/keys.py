"""Keys made from names, so that a test is the same every time; not a test itself."""

import base64
import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lockgate.contract.keyset import KeyEntry, KeyRole, keyid_of


class Key:
    """An Ed25519 signer."""

    def __init__(self, name: str) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())
        self.public = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.keyid = keyid_of(self.public)

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)

    def entry(self, role: KeyRole) -> KeyEntry:
        return KeyEntry(self.keyid, role, base64.b64encode(self.public).decode(), None, None, None)
