"""Signed documents: a dataclass inside a DSSE envelope of exactly one type and key role; it must not trust what it has not verified."""

from __future__ import annotations

import json
from functools import partial
from typing import Any, TypeVar

from lockgate.contract.codec import from_document, to_document
from lockgate.contract.dsse import EnvelopeSigner, seal
from lockgate.contract.keyset import KeyRole, Keyset
from lockgate.contract.trust import envelope_sha256, read_payload

__all__ = ["envelope_sha256", "read_signed", "read_signed_by", "write_signed"]

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
    return read_payload(partial(from_document, kind), envelope, payload_type, keyset, role)
