"""Makes, signs and loads keysets: which key may sign what; it must not trust a keyset that the pinned root did not sign (TRUST §1)."""

from __future__ import annotations

import base64
from pathlib import Path

from lockgate.contract.dsse import MAX_ENVELOPE, EnvelopeError, EnvelopeSigner
from lockgate.contract.keyset import PAYLOAD_TYPE, KeyEntry, KeyRole, Keyset, keyid_of, open_keyset
from lockgate.contract.signed import write_signed
from lockgate.keys.signer import read_public_key

DAY_MS = 86_400_000


class KeysetRefused(ValueError):
    """A keyset file is not acceptable: unreadable, not signed by the pinned root, expired, rolled back, or a dev keyset in production."""


def key_entry(
    role: KeyRole, public: bytes, *, holder: str | None = None, region: str | None = None, tenant: str | None = None
) -> KeyEntry:
    """The keyset entry of a public key (32 raw bytes)."""
    return KeyEntry(keyid_of(public), role, base64.b64encode(public).decode(), holder, region, tenant)


def seal_keyset(keyset: Keyset, root: EnvelopeSigner) -> bytes:
    """The keyset in an envelope signed by the root key."""
    return write_signed(keyset, PAYLOAD_TYPE, root)


def load_keyset(keyset: Path, root_key: Path, *, now: int, dev: bool, least_version: int = 1) -> Keyset:
    """Read and verify a keyset file under the pinned root key file. `now` is Unix ms; `dev` is whether a dev keyset is acceptable.

    Raises KeysetRefused, KeyFileError.
    """
    root = read_public_key(root_key)
    try:
        if keyset.stat().st_size > MAX_ENVELOPE:
            raise KeysetRefused(f"{keyset}: larger than {MAX_ENVELOPE} bytes")
        envelope = keyset.read_bytes()
    except OSError as error:
        raise KeysetRefused(f"{keyset}: cannot be read: {error.strerror}") from None
    try:
        found = open_keyset(envelope, root, now=now, least_version=least_version)
    except EnvelopeError as error:
        raise KeysetRefused(f"{keyset}: {error}") from None
    if found.dev and not dev:
        raise KeysetRefused(
            f"{keyset}: is stamped dev, and this is production; make one with `lockgate init` without --dev"
        )
    return found
