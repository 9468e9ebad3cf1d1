"""SHA-256 without OpenSSL for what is small: loading OpenSSL takes a job 3 ms before `ready`, as long as hashing half a megabyte without it.

The interpreter's own implementation is the one `hashlib` falls back on; both are held to each other by a test.
"""

from __future__ import annotations

import sys

if sys.version_info >= (3, 12):
    from _sha2 import sha256 as plain
else:
    from _sha256 import sha256 as plain  # type: ignore[import-not-found]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hashlib import _Hash

LARGE = 512 << 10
"""Bytes from which on OpenSSL's eight times faster implementation is worth its loading."""


def new_sha256(size: int) -> _Hash:
    """A SHA-256 for about `size` bytes to come."""
    if size < LARGE:
        made: _Hash = plain()
        return made
    import hashlib

    return hashlib.sha256()


def sha256_hex(data: bytes) -> str:
    """The digest in 64 hex digits."""
    whole = new_sha256(len(data))
    whole.update(data)
    return whole.hexdigest()
