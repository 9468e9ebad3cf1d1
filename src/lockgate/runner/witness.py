"""The runner as a witness of the audit log (TRUST §7): keeps the highest checkpoint it saw and stops on inconsistency."""

from __future__ import annotations

from lockgate.contract.dsse import EnvelopeError
from lockgate.contract.evidence import CHECKPOINT_TYPE, Checkpoint, Witness
from lockgate.contract.keyset import KeyRole, Keyset
from lockgate.contract.merkle import ProofError, verify_consistency
from lockgate.contract.runnerapi import LeaseAnswer
from lockgate.contract.signed import read_signed


class LogInconsistent(Exception):
    """The gateway's log is not an extension of what this runner witnessed: it was cut or rewritten. The runner takes no more work."""


def advance(keyset: Keyset, seen: Witness | None, answer: LeaseAnswer) -> Witness:
    """The new highest checkpoint. Raises LogInconsistent."""
    try:
        checkpoint = read_signed(Checkpoint, answer.checkpoint.encode(), CHECKPOINT_TYPE, keyset, KeyRole.LOG)
        root = bytes.fromhex(checkpoint.root.removeprefix("sha256:"))
        proof = [bytes.fromhex(item) for item in answer.consistency]
    except (EnvelopeError, ValueError) as error:
        raise LogInconsistent(f"the checkpoint cannot be read: {error}") from None
    newest = Witness(checkpoint.size, checkpoint.root)
    if seen is None or seen.size == 0:
        return newest
    if newest.size < seen.size:
        raise LogInconsistent(f"the log has {newest.size} entries, and had {seen.size} before")
    if newest.size == seen.size:
        if newest.root != seen.root:
            raise LogInconsistent(f"the log of {seen.size} entries has another root than before")
        return seen
    try:
        verify_consistency(seen.size, newest.size, bytes.fromhex(seen.root.removeprefix("sha256:")), root, proof)
    except ProofError as error:
        raise LogInconsistent(f"the log is no extension of the one seen before: {error}") from None
    return newest
