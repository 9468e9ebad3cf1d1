"""Verifies a whole audit log offline, in one pass and bounded memory; pure: it must not open files, ask a gateway or trust what it reads."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from lockgate.contract.canonical import CanonicalError, digest
from lockgate.contract.dsse import EnvelopeError
from lockgate.contract.keyset import Keyset
from lockgate.contract.merkle import Frontier, leaf_hash
from lockgate.gateway.audit.claims import Claim, claim_of
from lockgate.gateway.audit.entries import StoredEntry
from lockgate.gateway.audit.report import AuditReport, Fault, FaultKind

MAX_FAULTS = 100


@dataclass(frozen=True, slots=True)
class LoggedEntry:
    """An entry as found; `leaf` is the leaf hash kept beside it, by which a changed entry is told from its neighbours."""

    entry: StoredEntry
    leaf: bytes


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the entries are held against: keysets already verified under the pinned root, envelopes found with the log, checkpoints the
    verifier kept itself, and the head the log says it has (None: not said)."""

    keysets: Sequence[Keyset] = ()
    envelopes: Iterable[bytes] = ()
    kept: Sequence[bytes] = ()
    head: Claim | None = None


@dataclass(slots=True)
class _Findings:
    faults: list[Fault] = field(default_factory=list)
    count: int = 0

    def add(self, kind: FaultKind, seq: int | None, message: str) -> None:
        self.count += 1
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(Fault(kind, seq, message))


def verify(entries: Iterable[LoggedEntry], evidence: Evidence) -> AuditReport:
    """Recompute everything and hold it against every claim. Finds a change, gap, reorder, cut and rewrite; it never raises for bad content."""
    findings = _Findings()
    claims, checkpoints, witnesses = _claims(evidence, findings)
    waiting = [(claim.size, index, claim) for index, claim in enumerate(claims)]
    heapq.heapify(waiting)
    frontier, size, agreed, proven, broken = Frontier(), 0, 0, 0, False
    for item in entries:
        broken |= not _follows(item.entry, size, findings)
        size = max(size, item.entry.seq + 1)
        leaf = _checked_leaf(item, findings)
        if broken:
            # Behind a gap no root can be right; what is left is said about entries alone.
            continue
        frontier.append(leaf)
        while waiting and waiting[0][0] <= size:
            claim = heapq.heappop(waiting)[2]
            if claim.root == frontier.root():
                agreed, proven = claim.size, claim.size if claim.witnessed else proven
            else:
                _rewritten(claim, agreed, findings)
    for _, _, claim in sorted(waiting):
        if claim.size > size:
            _cut(claim, size, findings)
    root = b"" if broken else frontier.root()
    return AuditReport(size, root, checkpoints, witnesses, proven, tuple(findings.faults), findings.count)


def _claims(evidence: Evidence, findings: _Findings) -> tuple[list[Claim], int, int]:
    """Every claim that verifies, once; with how many were checkpoints and how many witnesses."""
    claims: dict[tuple[int, bytes, bool], Claim] = {}
    counts = [0, 0]
    for kept, envelopes in ((True, evidence.kept), (False, evidence.envelopes)):
        for envelope in envelopes:
            try:
                claim = claim_of(envelope, evidence.keysets, kept=kept)
            except EnvelopeError as error:
                findings.add(FaultKind.SIGNATURE, None, f"a signed document of this log does not verify: {error}")
                continue
            if claim is not None and claim.size > 0:
                counts[claim.witnessed] += 1
                claims.setdefault((claim.size, claim.root, claim.witnessed), claim)
    found = list(claims.values())
    if evidence.head is not None and evidence.head.size > 0:
        found.append(evidence.head)
    return found, counts[0], counts[1]


def _follows(entry: StoredEntry, expected: int, findings: _Findings) -> bool:
    if entry.seq == expected:
        return True
    if entry.seq > expected:
        last = entry.seq - 1
        missing = f"entry {expected} is" if last == expected else f"entries {expected} to {last} are"
        findings.add(FaultKind.GAP, expected, f"{missing} missing before entry {entry.seq}")
    else:
        findings.add(FaultKind.REORDERED, entry.seq, f"entry {entry.seq} stands where entry {expected} should")
    return False


def _checked_leaf(item: LoggedEntry, findings: _Findings) -> bytes:
    """The leaf to go on with. For an entry that does not fit its own leaf hash that hash, so that one change is one fault."""
    entry = item.entry
    try:
        if digest(entry.body) != entry.body_sha256:
            findings.add(FaultKind.CHANGED, entry.seq, f"entry {entry.seq}: its body is not the one it was logged with")
        computed = leaf_hash(entry.leaf_bytes())
    except CanonicalError as error:
        findings.add(FaultKind.CHANGED, entry.seq, f"entry {entry.seq}: {error}")
        return item.leaf
    if computed != item.leaf:
        findings.add(FaultKind.CHANGED, entry.seq, f"entry {entry.seq}: it was changed, or moved from another place")
    return item.leaf


def _rewritten(claim: Claim, agreed: int, findings: _Findings) -> None:
    findings.add(
        FaultKind.REWRITTEN,
        agreed,
        f"entries {agreed} to {claim.size - 1}: {claim.source} saw another history of {claim.size} entries",
    )


def _cut(claim: Claim, size: int, findings: _Findings) -> None:
    findings.add(
        FaultKind.CUT, size, f"entries {size} to {claim.size - 1} are missing: {claim.source} names {claim.size}"
    )
