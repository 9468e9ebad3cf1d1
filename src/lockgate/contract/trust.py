"""Opens what was signed: envelopes, the keyset, grants and permits. It must not look at a payload before its signature has verified.

Job and gateway come through the same checks and differ in the reader they bring: the job's makes plain records (`contract.shapes`), since
it must start fast; everyone else's makes the contract's dataclasses (`contract.codec`). Nothing here needs more than a scanner and a hash.
"""

from __future__ import annotations

import binascii

from cryptography.hazmat.bindings._rust import openssl

from lockgate.contract import strictjson
from lockgate.contract.hashing import sha256_hex

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from lockgate.contract.grant import Grant, Permit
    from lockgate.contract.keyset import Keyset

    T = TypeVar("T")
    Read = Callable[[Any], T]

MAX_ENVELOPE = 1 << 20
MAX_PERMIT_MS = 60_000
KEYSET_TYPE = "application/vnd.lockgate.keyset.v1+json"
GRANT_TYPE = "application/vnd.lockgate.grant.v1+json"
PERMIT_TYPE = "application/vnd.lockgate.permit.v1+json"
GRANT_ROLE = "grant"


class EnvelopeError(ValueError):
    """An envelope was refused: wrong shape, wrong payload type, unknown key, or a signature that does not verify."""


class VerifyingKey:
    """One public key (32 raw Ed25519 bytes) with the only role it may be used in."""

    __slots__ = ("keyid", "public")

    def __init__(self, keyid: str, public: bytes) -> None:
        self.keyid = keyid
        self.public = public

    def verify(self, message: bytes, signature: bytes) -> bool:
        """True when `signature` is this key's over `message`."""
        try:
            # What `Ed25519PublicKey.from_public_bytes` calls, without the modules around it, which cost a job as much as a bare interpreter
            # (ADR 25). tests/unit/contract/test_trust.py holds it to the public way.
            openssl.ed25519.from_public_bytes(self.public).verify(signature, message)
        except (ValueError, _invalid_signature()):
            return False
        return True


def _invalid_signature() -> type[Exception]:
    """Loaded only once something was raised: an `except` clause is looked at no earlier."""
    from cryptography.exceptions import InvalidSignature

    return InvalidSignature


def pae(payload_type: str, payload: bytes) -> bytes:
    """DSSE pre-authentication encoding: what is really signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def unseal(envelope: bytes, payload_type: str, keys: dict[str, VerifyingKey]) -> tuple[bytes, str]:
    """The payload bytes and the id of the key that signed them. Exactly one signature, of exactly this type, by one of `keys`.

    Raises EnvelopeError. With no keys nothing verifies.
    """
    try:
        document = strictjson.loads(envelope, max_bytes=MAX_ENVELOPE, max_depth=4)
    except strictjson.StrictJSONError as error:
        raise EnvelopeError(f"envelope is unreadable: {error}") from None
    if not isinstance(document, dict) or set(document) != {"payload", "payloadType", "signatures"}:
        raise EnvelopeError("envelope must have exactly payload, payloadType and signatures")
    if document["payloadType"] != payload_type:
        raise EnvelopeError(f"payloadType must be {payload_type}, not {str(document['payloadType'])[:100]!r}")
    signatures = document["signatures"]
    if not isinstance(signatures, list) or len(signatures) != 1 or not isinstance(signatures[0], dict):
        raise EnvelopeError("envelope must carry exactly one signature")
    keyid = signatures[0].get("keyid")
    key = keys.get(keyid) if isinstance(keyid, str) else None
    if key is None:
        raise EnvelopeError(f"signed by a key that is not trusted for this: {str(keyid)[:80]!r}")
    payload = _b64(document["payload"], "payload")
    if not key.verify(pae(payload_type, payload), _b64(signatures[0].get("sig"), "sig")):
        raise EnvelopeError(f"the signature by {key.keyid} does not verify")
    return payload, key.keyid


def read_payload(read: Read[T], envelope: bytes, payload_type: str, keyset: Keyset, role: str) -> tuple[T, str]:
    """The document in an envelope signed under one role of the keyset, read by `read`, and the id of the key that signed it.

    Raises EnvelopeError, also for a document of another deployment.
    """
    payload, keyid = unseal(envelope, payload_type, trusted_keys(keyset, role))
    try:
        value = read(strictjson.loads(payload))
    except ValueError as error:
        raise EnvelopeError(f"{payload_type}: {error}") from None
    if getattr(value, "deployment", keyset.deployment) != keyset.deployment:
        raise EnvelopeError("deployment: the document belongs to another deployment")
    return value, keyid


def open_keyset(read: Read[Keyset], envelope: bytes, root: bytes, *, now: int, least_version: int = 1) -> Keyset:
    """The enveloped keyset, verified against the pinned root key (32 raw bytes). `now` is Unix ms.

    Raises EnvelopeError: another root, a version below `least_version` (rollback), expired, or malformed.
    """
    keyid = keyid_of(root)
    payload, _ = unseal(envelope, KEYSET_TYPE, {keyid: VerifyingKey(keyid, root)})
    try:
        keyset = read(strictjson.loads(payload))
    except ValueError as error:
        raise EnvelopeError(f"keyset is malformed: {error}") from None
    if keyset.version < least_version:
        raise EnvelopeError(f"keyset version {keyset.version} is older than {least_version}, which was seen before")
    if now >= keyset.not_after:
        raise EnvelopeError("keyset has expired; publish a new one with `lockgate init --rotate`")
    return keyset


def trusted_keys(keyset: Keyset, role: str) -> dict[str, VerifyingKey]:
    """The keys of one role by key id."""
    return {
        entry.keyid: VerifyingKey(entry.keyid, binascii.a2b_base64(entry.public))
        for entry in keyset.keys
        if entry.role == role
    }


def read_grant(read: Read[Grant], envelope: bytes, keyset: Keyset) -> Grant:
    """A verified grant. Raises EnvelopeError."""
    grant, _ = read_payload(read, envelope, GRANT_TYPE, keyset, GRANT_ROLE)
    if (grant.phase == "apply") != (grant.plan is not None and grant.inputs_sha256 is not None):
        raise EnvelopeError("grant: an apply grant names plan and inputs, and no other does")
    return grant


def read_permit(read: Read[Permit], envelope: bytes, keyset: Keyset) -> Permit:
    """A verified permit. Raises EnvelopeError."""
    permit, _ = read_payload(read, envelope, PERMIT_TYPE, keyset, GRANT_ROLE)
    if not 0 < permit.not_after - permit.issued_at <= MAX_PERMIT_MS:
        raise EnvelopeError(f"permit: lives longer than {MAX_PERMIT_MS} ms")
    return permit


def keyid_of(public: bytes) -> str:
    """A key's id: the first 16 hex digits of the SHA-256 of its raw bytes."""
    return sha256_hex(public)[:16]


def envelope_sha256(envelope: bytes) -> str:
    """`sha256:` of an envelope's bytes, the name by which other documents refer to it."""
    return "sha256:" + sha256_hex(envelope)


def base64_bytes(text: str | bytes) -> bytes:
    """Bytes of strict base64. Raises ValueError."""
    return binascii.a2b_base64(text, strict_mode=True)


def _b64(text: object, field: str) -> bytes:
    if not isinstance(text, str):
        raise EnvelopeError(f"{field} must be base64 text")
    try:
        return base64_bytes(text)
    except ValueError:
        raise EnvelopeError(f"{field} is not base64") from None
