"""What each query reads, on a read-only connection; it must not write, cache or decide."""

from __future__ import annotations

from collections.abc import Callable
from itertools import zip_longest
from typing import Any, TypeVar

from lockgate.contract.merkle import Node, consistency_proof, inclusion_proof, root_of
from lockgate.gateway.audit.entries import Head, StoredEntry
from lockgate.gateway.operations.locks import LockState
from lockgate.gateway.operations.model import Attempt, Lock, Operation, Vote
from lockgate.gateway.store import port
from lockgate.gateway.store.asked import AskedOperations
from lockgate.gateway.store.entryrows import STORED_LEVEL
from lockgate.gateway.store.port import StoreError
from lockgate.gateway.store.sqlite.askedrows import asked_operations
from lockgate.gateway.store.sqlite.connection import Connection
from lockgate.gateway.store.sqlite.decisions import decisions, decisions_of, get_bundle, get_decision, oldest_kept
from lockgate.gateway.store.sqlite.past import read_past, read_past_at_once
from lockgate.gateway.store.sqlite.rows import decode, entry_of
from lockgate.gateway.store.sqlite.sums import used_most

T = TypeVar("T")
Values = tuple[Any, ...]
MAX_PAGE = 200
MAX_LANES = 500
MAX_ENTRIES = 5_000
MAX_LEAVES = 100_000


def _one(db: Connection, kind: type[T], sql: str, values: Values) -> T | None:
    row = db.execute(sql, values).fetchone()
    return None if row is None else decode(kind, row[0])


def _many(db: Connection, kind: type[T], sql: str, values: Values) -> tuple[T, ...]:
    return tuple(decode(kind, row[0]) for row in db.execute(sql, values).fetchall())


def _get_operation(db: Connection, query: port.GetOperation) -> Operation | None:
    return _one(db, Operation, "SELECT body FROM operation WHERE id = ?", (query.id,))


def _find_idempotent(db: Connection, query: port.FindIdempotent) -> Operation | None:
    sql = "SELECT body FROM operation WHERE id = (SELECT operation FROM idempotency WHERE scope = ?)"
    return _one(db, Operation, sql, (query.scope,))


def _list_operations(db: Connection, query: port.ListOperations) -> tuple[Operation, ...]:
    where, values = ["tenant = ?"], [query.tenant]
    for column, value in (("principal", query.principal), ("target", query.target)):
        if value is not None:
            where.append(f"{column} = ?")
            values.append(value)
    if query.states:
        where.append(f"state IN ({', '.join('?' * len(query.states))})")
        values += query.states
    if query.before is not None:
        where.append("ordinal < (SELECT ordinal FROM operation WHERE id = ? AND tenant = ?)")
        values += [query.before, query.tenant]
    sql = f"SELECT body FROM operation WHERE {' AND '.join(where)} ORDER BY ordinal DESC LIMIT ?"  # noqa: S608
    return _many(db, Operation, sql, (*values, _bounded(query.limit, MAX_PAGE)))


_TENANTS_WITH_QUEUED = """
WITH RECURSIVE t(tenant) AS (
    SELECT min(tenant) FROM operation WHERE state = 'queued' AND region = ?1
    UNION ALL
    SELECT (SELECT min(tenant) FROM operation WHERE state = 'queued' AND region = ?1 AND tenant > t.tenant)
    FROM t WHERE t.tenant IS NOT NULL
) SELECT tenant FROM t WHERE tenant IS NOT NULL"""


def _queued(db: Connection, query: port.QueuedOperations) -> tuple[Operation, ...]:
    sql = "SELECT ordinal FROM operation WHERE state = 'queued' AND region = ? AND tenant = ? ORDER BY ordinal LIMIT ?"
    return _in_turns(db, query.region, sql, _bounded(query.limit, MAX_PAGE))


def _lane_heads(db: Connection, query: port.LaneHeads) -> tuple[Operation, ...]:
    sql = (
        "SELECT min(ordinal) AS head FROM operation WHERE state = 'queued' AND region = ? AND tenant = ?"
        " GROUP BY lane ORDER BY head LIMIT ?"
    )
    return _in_turns(db, query.region, sql, _bounded(query.limit, MAX_LANES))


def _in_turns(db: Connection, region: str, sql: str, limit: int) -> tuple[Operation, ...]:
    lines = [
        [row[0] for row in db.execute(sql, (region, tenant, limit)).fetchall()]
        for (tenant,) in db.execute(_TENANTS_WITH_QUEUED, (region,)).fetchall()
    ]
    # A turn gives each tenant one place; inside a turn the oldest goes first.
    turns = [sorted(item for item in turn if item is not None) for turn in zip_longest(*lines)]
    chosen = [ordinal for turn in turns for ordinal in turn][:limit]
    found = [_one(db, Operation, "SELECT body FROM operation WHERE ordinal = ?", (item,)) for item in chosen]
    return tuple(item for item in found if item is not None)


def _load(db: Connection, query: port.TenantLoad) -> tuple[int, int]:
    # Bounded by what the asker cares about: a long queue would otherwise be walked at every look. The index is partial; SQLite sees that it
    # may be used only when its own condition stands in the query too, and refuses the query (INDEXED BY) rather than read every row.
    sql = (
        "SELECT count(*) FROM (SELECT 1 FROM operation INDEXED BY operation_load"
        " WHERE tenant = ? AND state IN ('queued', 'leased', 'running') AND state {} LIMIT ?)"
    )
    counts = [
        db.execute(sql.format(states), (query.tenant, query.at_most)).fetchone()[0]
        for states in ("= 'queued'", "IN ('leased', 'running')")
    ]
    return int(counts[0]), int(counts[1])


def _depth(db: Connection, _: port.QueueDepth) -> tuple[tuple[str, int], ...]:
    sql = "SELECT state, count(*) FROM operation WHERE state IN ('queued', 'leased', 'running') GROUP BY state"
    return tuple((str(state), int(count)) for state, count in db.execute(sql).fetchall())


def _indeterminate(db: Connection, query: port.IndeterminateOperations) -> tuple[Operation, ...]:
    sql = "SELECT body FROM operation WHERE state = 'indeterminate' AND region = ? ORDER BY ordinal LIMIT ?"
    return _many(db, Operation, sql, (query.region, _bounded(query.limit, MAX_PAGE)))


def _due(db: Connection, query: port.DueOperations) -> tuple[Operation, ...]:
    # Those that time alone can end come first, so that others past their deadline cannot hide them.
    sql = (
        "SELECT body FROM operation WHERE due_at <= ?"
        " ORDER BY state NOT IN ('queued', 'pending_approval'), due_at LIMIT ?"
    )
    return _many(db, Operation, sql, (query.now, _bounded(query.limit, MAX_PAGE)))


def _get_attempt(db: Connection, query: port.GetAttempt) -> Attempt | None:
    return _one(db, Attempt, "SELECT body FROM attempt WHERE id = ?", (query.id,))


def _attempts_of(db: Connection, query: port.AttemptsOf) -> tuple[Attempt, ...]:
    return _many(db, Attempt, "SELECT body FROM attempt WHERE operation = ? ORDER BY ordinal", (query.operation,))


def _attempt_by_poll(db: Connection, query: port.AttemptByPoll) -> Attempt | None:
    sql = "SELECT body FROM attempt WHERE runner = ? AND poll_id = ?"
    return _one(db, Attempt, sql, (query.runner, query.poll_id))


def _live_attempts(db: Connection, query: port.LiveAttempts) -> tuple[Attempt, ...]:
    sql = "SELECT body FROM attempt WHERE state IN ('leased', 'started', 'reported')"
    if query.expired_at is None:
        return _many(db, Attempt, f"{sql} ORDER BY lease_until", ())
    return _many(db, Attempt, f"{sql} AND lease_until <= ? ORDER BY lease_until", (query.expired_at,))


def _get_lock(db: Connection, query: port.GetLock) -> Lock:
    sql = "SELECT name, state, attempt, since FROM target_lock WHERE name = ?"
    row = db.execute(sql, (query.name,)).fetchone()
    return _lock(row) if row else Lock(query.name, LockState.FREE, None, 0)


def _list_locks(db: Connection, _: port.ListLocks) -> tuple[Lock, ...]:
    sql = "SELECT name, state, attempt, since FROM target_lock WHERE state <> 'free' ORDER BY name"
    return tuple(_lock(row) for row in db.execute(sql).fetchall())


def _lock(row: Values) -> Lock:
    return Lock(row[0], LockState(row[1]), row[2], row[3])


def _votes_of(db: Connection, query: port.VotesOf) -> tuple[Vote, ...]:
    return _many(db, Vote, "SELECT body FROM vote WHERE operation = ? ORDER BY ordinal", (query.operation,))


def _envelopes_of(db: Connection, query: port.EnvelopesOf) -> tuple[port.EnvelopeRecord, ...]:
    sql = "SELECT sha256, kind, operation, attempt, envelope FROM envelope WHERE operation = ? ORDER BY ordinal"
    return tuple(port.EnvelopeRecord(*row) for row in db.execute(sql, (query.operation,)).fetchall())


def _plan_bytes(db: Connection, query: port.GetPlanBytes) -> bytes | None:
    sql = "SELECT data FROM plan_bytes WHERE operation = ? AND semantic_sha256 = ?"
    row = db.execute(sql, (query.operation, query.semantic_sha256)).fetchone()
    return None if row is None else bytes(row[0])


def _recorded(db: Connection, query: port.RecordedRevision) -> str | None:
    row = db.execute("SELECT subject FROM revision WHERE kind = ?", (query.kind,)).fetchone()
    return None if row is None else str(row[0])


def _epoch(db: Connection, _: port.GetEpoch) -> int:
    return int(db.execute("SELECT epoch FROM head").fetchone()[0])


def _revocations(db: Connection, _: port.Revocations) -> tuple[port.Revocation, ...]:
    return tuple(port.Revocation(*row) for row in db.execute("SELECT kind, subject, at FROM revocation").fetchall())


def _freezes(db: Connection, _: port.Freezes) -> tuple[str, ...]:
    return tuple(row[0] for row in db.execute("SELECT scope FROM freeze ORDER BY scope").fetchall())


def _entries(db: Connection, query: port.AuditEntries) -> tuple[StoredEntry, ...]:
    only: str = ""
    values: list[Any] = [query.since]
    if query.operation is not None:
        only += " AND operation = ?"
        values.append(query.operation)
    if query.tenant is not None:
        only += " AND operation IN (SELECT id FROM operation WHERE tenant = ?)"
        values.append(query.tenant)
    if query.kind is not None:
        only += " AND kind = ?"
        values.append(query.kind)
    sql = (
        "SELECT seq, time, kind, operation, principal, body_sha256, body FROM audit_entry"  # noqa: S608
        f" WHERE seq >= ?{only} ORDER BY seq LIMIT ?"
    )
    return tuple(entry_of(row) for row in db.execute(sql, (*values, _bounded(query.limit, MAX_ENTRIES))).fetchall())


def _tree_head(db: Connection, _: port.TreeHead) -> Head:
    return Head(*db.execute("SELECT size, root FROM head").fetchone())


def _leaves(db: Connection, query: port.LeafHashes) -> tuple[bytes, ...]:
    if not 0 <= query.start <= query.end or query.end - query.start > MAX_LEAVES:
        raise StoreError(f"leaf hashes [{query.start}, {query.end}): must be a range of at most {MAX_LEAVES}")
    sql = "SELECT leaf FROM audit_entry WHERE seq >= ? AND seq < ? ORDER BY seq"
    leaves = tuple(row[0] for row in db.execute(sql, (query.start, query.end)).fetchall())
    if len(leaves) != query.end - query.start:
        raise StoreError(f"leaf hashes [{query.start}, {query.end}): the log has fewer entries")
    return leaves


def _node(db: Connection) -> Node:
    """Complete nodes: stored ones as they are, those below `STORED_LEVEL` from at most 128 leaves."""

    def node(level: int, index: int) -> bytes:
        if level >= STORED_LEVEL:
            row = db.execute("SELECT hash FROM audit_node WHERE level = ? AND idx = ?", (level, index)).fetchone()
            if row is None:
                raise StoreError(f"proof: the log has fewer than {(index + 1) << level} entries")
            return bytes(row[0])
        return root_of(_leaves(db, port.LeafHashes(index << level, (index + 1) << level)))

    return node


def _consistency(db: Connection, query: port.ConsistencyProof) -> tuple[bytes, ...]:
    try:
        return consistency_proof(_node(db), query.old, query.new)
    except ValueError as error:
        raise StoreError(f"proof: {error}") from None


def _inclusion(db: Connection, query: port.InclusionProof) -> tuple[bytes, ...]:
    try:
        return inclusion_proof(_node(db), query.seq, query.size)
    except ValueError as error:
        raise StoreError(f"proof: {error}") from None


def _bounded(limit: int, most: int) -> int:
    return max(1, min(limit, most))


IN_LOOP: dict[type, Callable[[Connection, Any], Any]] = {
    port.GetOperation: _get_operation,
    port.FindIdempotent: _find_idempotent,
    port.GetAttempt: _get_attempt,
    port.AttemptByPoll: _attempt_by_poll,
    port.GetLock: _get_lock,
    port.GetEpoch: _epoch,
    port.RecordedRevision: _recorded,
    port.TreeHead: _tree_head,
    port.TenantLoad: _load,
}
"""Point look-ups of some ten microseconds: cheaper in the event loop than a hop to a thread."""

AT_ONCE: dict[type, Callable[[Connection, Any], Any]] = {port.ReadPast: read_past_at_once}
"""Tried in the event loop; None: it is more than that, and must be read in a thread."""

IN_THREAD: dict[type, Callable[[Connection, Any], Any]] = {
    port.ListOperations: _list_operations,
    AskedOperations: asked_operations,
    port.QueuedOperations: _queued,
    port.LaneHeads: _lane_heads,
    port.IndeterminateOperations: _indeterminate,
    port.DueOperations: _due,
    port.QueueDepth: _depth,
    port.AttemptsOf: _attempts_of,
    port.LiveAttempts: _live_attempts,
    port.ListLocks: _list_locks,
    port.VotesOf: _votes_of,
    port.GetDecision: get_decision,
    port.DecisionsOf: decisions_of,
    port.Decisions: decisions,
    port.GetBundle: get_bundle,
    port.OldestKept: oldest_kept,
    port.EnvelopesOf: _envelopes_of,
    port.GetPlanBytes: _plan_bytes,
    port.Revocations: _revocations,
    port.Freezes: _freezes,
    port.ReadPast: read_past,
    port.UsedMost: used_most,
    port.AuditEntries: _entries,
    port.LeafHashes: _leaves,
    port.ConsistencyProof: _consistency,
    port.InclusionProof: _inclusion,
}
"""What may be large or scan."""
