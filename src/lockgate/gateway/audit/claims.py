"""What signed documents claim about the tree: checkpoints by the log key, witnesses inside runners' manifests and receipts. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from lockgate.contract.dsse import EnvelopeError
from lockgate.contract.evidence import CHECKPOINT_TYPE, MANIFEST_TYPE, RECEIPT_TYPE, Manifest, Receipt, Witness
from lockgate.contract.keyset import KeyRole, Keyset, open_keyset
from lockgate.contract.signed import read_signed_by
from lockgate.gateway.audit.checkpoint import open_checkpoint, root_bytes

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Claim:
    """Someone says: the tree of `size` leaves has this root. `witnessed`: by someone other than the log itself."""

    size: int
    root: bytes
    source: str
    witnessed: bool


def historic_keyset(envelope: bytes, root: bytes) -> Keyset:
    """A keyset under the pinned root key, also one that has expired by now: old evidence stays evidence. Raises EnvelopeError."""
    return open_keyset(envelope, root, now=0)


def claim_of(envelope: bytes, keysets: Sequence[Keyset], *, kept: bool = False) -> Claim | None:
    """What an envelope claims; None for one without a witness. `kept`: the verifier itself kept this checkpoint.

    Raises EnvelopeError when no keyset vouches for it, or when its kind makes no claims.
    """
    kind = _payload_type(envelope)
    if kind == CHECKPOINT_TYPE:
        checkpoint = _any(keysets, lambda keyset: open_checkpoint(envelope, keyset))
        return Claim(checkpoint.size, root_bytes(checkpoint.root), "a checkpoint", kept)
    if kind == MANIFEST_TYPE:
        manifest, keyid = _any(keysets, lambda keyset: read_signed_by(Manifest, envelope, kind, keyset, KeyRole.RUNNER))
        return _witnessed(manifest.witness, f"the manifest of attempt {manifest.attempt}, key {keyid}")
    if kind == RECEIPT_TYPE:
        receipt, keyid = _any(keysets, lambda keyset: read_signed_by(Receipt, envelope, kind, keyset, KeyRole.RUNNER))
        return _witnessed(receipt.witness, f"the receipt of attempt {receipt.attempt}, key {keyid}")
    return None


def _witnessed(witness: Witness | None, source: str) -> Claim | None:
    if witness is None or witness.size == 0:
        return None
    if witness.size < 0:
        raise EnvelopeError(f"{source}: witness.size must not be negative")
    return Claim(witness.size, root_bytes(witness.root), source, True)


def _payload_type(envelope: bytes) -> str:
    try:
        document = json.loads(envelope)
    except (ValueError, RecursionError):
        raise EnvelopeError("envelope is not JSON") from None
    kind = document.get("payloadType") if isinstance(document, dict) else None
    if not isinstance(kind, str):
        raise EnvelopeError("envelope has no payloadType")
    return kind


def _any(keysets: Sequence[Keyset], read: Callable[[Keyset], T]) -> T:
    error = EnvelopeError("no keyset is known to check it by; give one with its root key")
    for keyset in keysets:
        try:
            return read(keyset)
        except EnvelopeError as found:
            error = found
    raise error
