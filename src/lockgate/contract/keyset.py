"""The keyset: which public key may sign what. Runners, jobs and verifiers pin its root key; it must not be trusted unverified."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from lockgate.contract import trust
from lockgate.contract.codec import from_document
from lockgate.contract.trust import KEYSET_TYPE as PAYLOAD_TYPE
from lockgate.contract.trust import EnvelopeError, VerifyingKey, keyid_of

__all__ = ["PAYLOAD_TYPE", "KeyEntry", "KeyRole", "Keyset", "keyid_of", "open_keyset"]


class KeyRole(StrEnum):
    """What a key may sign (TRUST §1); a signature under another role is no signature."""

    GRANT = "grant"
    LOG = "log"
    ISSUER = "issuer"
    RUNNER = "runner"


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """One public key (base64 of 32 raw Ed25519 bytes); `holder`, `region` and `tenant` bind a runner's key."""

    keyid: str
    role: KeyRole
    public: str
    holder: str | None
    region: str | None
    tenant: str | None


@dataclass(frozen=True, slots=True)
class Keyset:
    """Versioned and expiring (Unix ms); `dev` marks a throw-away deployment that production refuses."""

    version: int
    deployment: str
    dev: bool
    issued_at: int
    not_after: int
    keys: tuple[KeyEntry, ...]

    def trusted(self, role: KeyRole) -> dict[str, VerifyingKey]:
        """The keys of one role by key id."""
        return trust.trusted_keys(self, role)

    def entry(self, keyid: str) -> KeyEntry:
        """The entry of a key id. Raises EnvelopeError when the keyset does not name it."""
        for entry in self.keys:
            if entry.keyid == keyid:
                return entry
        raise EnvelopeError(f"the keyset does not name the key {keyid[:80]!r}")


def open_keyset(envelope: bytes, root: bytes, *, now: int, least_version: int = 1) -> Keyset:
    """Verify an enveloped keyset against the pinned root key (32 raw bytes). `now` is Unix ms.

    Raises EnvelopeError: another root, a version below `least_version` (rollback), expired, or malformed.
    """
    return trust.open_keyset(partial(from_document, Keyset), envelope, root, now=now, least_version=least_version)
