"""Encrypts bytes under a key of their own, itself wrapped by the region's; it must not write a file or know what the bytes mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MAGIC: Final = b"lockgate-sealed-1\n"
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_WRAPPED_BYTES: Final = _NONCE_BYTES + _KEY_BYTES + _TAG_BYTES
KEY_END: Final = len(MAGIC) + _WRAPPED_BYTES
"""Without its first KEY_END bytes a sealed file can be read by nobody: they hold the only copy of its key."""


class Unreadable(Exception):
    """The bytes were not sealed by this region for this purpose, or were changed since; a retry does not help."""


class RegionSealer:
    """Seals for one purpose. `random` gives n random bytes; both layers are AES-256-GCM and bind the same names (AAD)."""

    def __init__(self, region_secret: bytes, purpose: str, random: Callable[[int], bytes]) -> None:
        info = b"lockgate-wrap-v1\0" + purpose.encode()
        self._wrapping = AESGCM(HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=None, info=info).derive(region_secret))
        self._random = random

    def seal(self, data: bytes, names: tuple[str, ...]) -> bytes:
        """`data` under a fresh key; `names` say what it is, and only who gives the same can open it."""
        bound, key = aad(names), self._random(_KEY_BYTES)
        key_nonce, nonce = self._random(_NONCE_BYTES), self._random(_NONCE_BYTES)
        wrapped = key_nonce + self._wrapping.encrypt(key_nonce, key, bound)
        return MAGIC + wrapped + nonce + AESGCM(key).encrypt(nonce, data, bound)

    def open(self, sealed: bytes, names: tuple[str, ...]) -> bytes:
        """The bytes back. Raises Unreadable."""
        bound = aad(names)
        wrapped, rest = sealed[len(MAGIC) : KEY_END], sealed[KEY_END:]
        if not sealed.startswith(MAGIC) or len(rest) < _NONCE_BYTES + _TAG_BYTES:
            raise Unreadable("is no sealed file")
        try:
            key = self._wrapping.decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], bound)
            return AESGCM(key).decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], bound)
        except InvalidTag:
            raise Unreadable("was sealed for something else, by another region, or was changed since") from None


def aad(names: tuple[str, ...]) -> bytes:
    """The names as bytes that no other names have: each with its length before it."""
    parts = [name.encode() for name in names]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
