"""Signed documents: a dataclass inside a DSSE envelope of exactly one type and key role; it must stay importable by the job."""

from __future__ import annotations

import hashlib
import json
from typing import Any, TypeVar

from lockgate.contract import strictjson
from lockgate.contract.codec import DocumentError, from_document, to_document
from lockgate.contract.dsse import EnvelopeError, EnvelopeSigner, seal, unseal
from lockgate.contract.keyset import KeyRole, Keyset

T = TypeVar("T")


def write_signed(document: Any, payload_type: str, signer: EnvelopeSigner) -> bytes:
    """The envelope of a dataclass. The payload is compact sorted JSON; verifiers use the bytes, so any encoding would do."""
    payload = json.dumps(
        to_document(document), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return seal(payload_type, payload.encode(), signer)


def read_signed(kind: type[T], envelope: bytes, payload_type: str, keyset: Keyset, role: KeyRole) -> T:
    """Verify an envelope under one role of the keyset and parse it as `kind`. Raises EnvelopeError."""
    return read_signed_by(kind, envelope, payload_type, keyset, role)[0]


def read_signed_by(kind: type[T], envelope: bytes, payload_type: str, keyset: Keyset, role: KeyRole) -> tuple[T, str]:
    """As `read_signed`, with the id of the key that signed. Also refuses a document of another deployment."""
    payload, keyid = unseal(envelope, payload_type, keyset.trusted(role))
    try:
        value = from_document(kind, strictjson.loads(payload))
    except (strictjson.StrictJSONError, DocumentError) as error:
        raise EnvelopeError(f"{payload_type}: {error}") from None
    if getattr(value, "deployment", keyset.deployment) != keyset.deployment:
        raise EnvelopeError("deployment: the document belongs to another deployment")
    return value, keyid


def envelope_sha256(envelope: bytes) -> str:
    """`sha256:` of an envelope's bytes, the name by which other documents refer to it."""
    return "sha256:" + hashlib.sha256(envelope).hexdigest()
