"""Signed heads of the audit tree: made by the log key, opened by anyone who holds the keyset. It must not keep a key or a clock."""

from __future__ import annotations

import base64
import hashlib

from lockgate.contract.dsse import EnvelopeError, EnvelopeSigner
from lockgate.contract.evidence import CHECKPOINT_TYPE, Checkpoint
from lockgate.contract.keyset import KeyRole, Keyset
from lockgate.contract.signed import read_signed, write_signed
from lockgate.gateway.audit.entries import Head


def root_text(root: bytes) -> str:
    """A root hash as documents write it."""
    return "sha256:" + root.hex()


def root_bytes(text: str) -> bytes:
    """The 32 bytes of `sha256:…`. Raises EnvelopeError."""
    try:
        root = bytes.fromhex(text.removeprefix("sha256:"))
    except ValueError:
        root = b""
    if not text.startswith("sha256:") or len(root) != 32:
        raise EnvelopeError(f"root: must be sha256: and 64 hex digits, not {text[:80]!r}")
    return root


def issue(head: Head, signer: EnvelopeSigner, *, deployment: str, now: int) -> bytes:
    """The checkpoint envelope of `head`; `signer` holds the log key, `now` is Unix ms."""
    return write_signed(Checkpoint(deployment, head.size, root_text(head.root), now), CHECKPOINT_TYPE, signer)


def open_checkpoint(envelope: bytes, keyset: Keyset) -> Checkpoint:
    """Verify and parse a checkpoint. Raises EnvelopeError."""
    checkpoint = read_signed(Checkpoint, envelope, CHECKPOINT_TYPE, keyset, KeyRole.LOG)
    if checkpoint.size < 0:
        raise EnvelopeError("checkpoint: size must not be negative")
    root_bytes(checkpoint.root)
    return checkpoint


def signed_note(head: Head, origin: str, signer: EnvelopeSigner, public: bytes) -> str:
    """The same head as a C2SP tlog-checkpoint in a signed note, for public witnesses; `public` is the log key's 32 raw bytes.

    `origin` names the log (no spaces or plus signs); its text can never be mistaken for a DSSE message, which starts with `DSSEv1 `.
    """
    if not origin or any(char.isspace() or char == "+" for char in origin):
        raise ValueError("origin: must be a name without spaces or plus signs")
    text = f"{origin}\n{head.size}\n{base64.b64encode(head.root).decode()}\n"
    key_hash = hashlib.sha256(f"{origin}\n".encode() + b"\x01" + public).digest()[:4]
    signature = base64.b64encode(key_hash + signer.sign(text.encode())).decode()
    return f"{text}\n— {origin} {signature}\n"
