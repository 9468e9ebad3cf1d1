"""The keyset: which public key may sign what. Runners, jobs and verifiers pin its root key; it must not be trusted unverified."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from enum import StrEnum

from lockgate.contract import strictjson
from lockgate.contract.codec import from_document
from lockgate.contract.dsse import EnvelopeError, VerifyingKey, unseal

PAYLOAD_TYPE = "application/vnd.lockgate.keyset.v1+json"


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
        return {
            entry.keyid: VerifyingKey(entry.keyid, base64.b64decode(entry.public))
            for entry in self.keys
            if entry.role is role
        }

    def entry(self, keyid: str) -> KeyEntry:
        """The entry of a key id. Raises EnvelopeError when the keyset does not name it."""
        for entry in self.keys:
            if entry.keyid == keyid:
                return entry
        raise EnvelopeError(f"the keyset does not name the key {keyid[:80]!r}")


def keyid_of(public: bytes) -> str:
    """A key's id: the first 16 hex digits of the SHA-256 of its raw bytes."""
    return hashlib.sha256(public).hexdigest()[:16]


def open_keyset(envelope: bytes, root: bytes, *, now: int, least_version: int = 1) -> Keyset:
    """Verify an enveloped keyset against the pinned root key (32 raw bytes). `now` is Unix ms.

    Raises EnvelopeError: another root, a version below `least_version` (rollback), expired, or malformed.
    """
    keyid = keyid_of(root)
    payload, _ = unseal(envelope, PAYLOAD_TYPE, {keyid: VerifyingKey(keyid, root)})
    try:
        keyset = from_document(Keyset, strictjson.loads(payload))
    except ValueError as error:
        raise EnvelopeError(f"keyset is malformed: {error}") from None
    if keyset.version < least_version:
        raise EnvelopeError(f"keyset version {keyset.version} is older than {least_version}, which was seen before")
    if now >= keyset.not_after:
        raise EnvelopeError("keyset has expired; publish a new one with `lockgate init --rotate`")
    return keyset
