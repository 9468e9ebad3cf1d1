"""The one writer thread: takes what is queued, one transaction and one fsync per batch. It must not answer before the commit returned."""

from __future__ import annotations

import asyncio
import queue
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from lockgate.contract.merkle import Frontier
from lockgate.gateway.store.entryrows import number
from lockgate.gateway.store.port import Admit, Done, Outcome, StoreError, StoreUnknown
from lockgate.gateway.store.sqlite.admits import admit_all
from lockgate.gateway.store.sqlite.bulk import insert
from lockgate.gateway.store.sqlite.commands import Batch, run
from lockgate.gateway.store.sqlite.connection import Connection, DatabaseError, play_log
from lockgate.gateway.store.sqlite.prepared import Prepared
from lockgate.gateway.store.sqlite.spends import surely_held

Answer = Outcome | StoreError


@dataclass(slots=True)
class Ticket:
    """A prepared command and the future that waits for its answer."""

    item: Prepared
    future: asyncio.Future[Outcome]


@dataclass(slots=True)
class Settled:
    """A batch that is over: an answer for each ticket, and what readers must hear."""

    answers: list[tuple[Ticket, Answer]] = field(default_factory=list)
    touched: frozenset[str] = frozenset()
    moved: bool = False


class Writer:
    """Owns the read-write connection. `settle` is called on the event loop, once per batch."""

    def __init__(self, db: Connection, settle: Callable[[Settled], None], batch_limit: int = 512) -> None:
        self._db = db
        self._settle = settle
        self._limit = batch_limit
        self._queue: queue.SimpleQueue[Ticket | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="lockgate-store-writer", daemon=True)
        self.failure: str | None = None
        """Why nothing is written any more; None while all is well."""
        self.commits = 0
        epoch, size, frontier = db.execute("SELECT epoch, size, frontier FROM head").fetchone()
        self._epoch: int = epoch
        self._frontier = Frontier.from_bytes(size, frontier)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def put(self, ticket: Ticket) -> None:
        """Queue a command; the caller bounds how many."""
        self._queue.put(ticket)

    def stop(self) -> None:
        """Finish what is queued, then end the thread; blocks."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        settled, going = Settled(), True
        try:
            while going:
                tickets, going = self._take()
                settled = Settled([(ticket, StoreUnknown(_UNKNOWN)) for ticket in tickets])
                if tickets:
                    settled = self._write(tickets)
                    self._deliver(settled)
                    settled = Settled()
                    self._play_log()
        finally:
            # Only reached with `going` when something failed that no branch foresaw: refuse from here on.
            if going:
                self.failure = (
                    f"the writer ended on {sys.exception()!r}; nothing is written until the gateway is restarted"
                )
                self._deliver(settled)
                self._refuse_rest()

    def _refuse_rest(self) -> None:
        while (ticket := self._queue.get()) is not None:
            self._deliver(Settled([(ticket, StoreError(f"store: {self.failure}"))]))

    def _take(self) -> tuple[list[Ticket], bool]:
        """Wait for one command, then take what else is there: no lingering. False: asked to stop."""
        first = self._queue.get()
        if first is None:
            return [], False
        tickets = [first]
        while len(tickets) < self._limit:
            try:
                ticket = self._queue.get_nowait()
            except queue.Empty:
                break
            if ticket is None:
                return tickets, False
            tickets.append(ticket)
        return tickets, True

    def _write(self, tickets: list[Ticket]) -> Settled:
        if self.failure is not None:
            return _all(tickets, StoreError(f"store: {self.failure}"))
        batch = Batch(self._epoch, self._frontier.copy())
        try:
            self._db.execute("BEGIN IMMEDIATE")
            answers = self._run_all(batch, tickets)
            self._write_entries(batch)
        except DatabaseError as error:
            return _all(tickets, self._rolled_back(error))
        try:
            self._db.execute("COMMIT")
        except DatabaseError as error:
            return _all(tickets, self._commit_failed(error))
        self.commits += 1
        self._epoch, self._frontier = batch.epoch, batch.frontier
        return Settled(answers, frozenset(batch.touched), batch.moved)

    def _run_all(self, batch: Batch, tickets: list[Ticket]) -> list[tuple[Ticket, Answer]]:
        """New operations first, all at once; then the rest in order. None was answered yet, so any order is right.

        One whose claim may not hold must see what those before it use of the budget: it is of the rest.
        """
        admits, rest = self._at_once(tickets)
        outcomes = admit_all(self._db, batch, [ticket.item for ticket in admits]) if len(admits) > 1 else None
        if outcomes is None:
            answers = [(ticket, self._one(batch, ticket.item)) for ticket in admits]
        else:
            answers = list(zip(admits, outcomes, strict=True))
        return answers + [(ticket, self._one(batch, ticket.item)) for ticket in rest]

    def _at_once(self, tickets: list[Ticket]) -> tuple[list[Ticket], list[Ticket]]:
        """The new operations that do not stand in each other's way, and the rest."""
        admits: list[Ticket] = []
        rest: list[Ticket] = []
        commands = [ticket.item.command for ticket in tickets if isinstance(ticket.item.command, Admit)]
        held = iter(surely_held(self._db, commands))
        for ticket in tickets:
            sure = isinstance(ticket.item.command, Admit) and next(held)
            (admits if sure else rest).append(ticket)
        return admits, rest

    def _one(self, batch: Batch, item: Prepared) -> Answer:
        """One command inside a savepoint, so that its failure leaves the others of the batch alone."""
        db = self._db
        db.execute("SAVEPOINT command")
        try:
            answer: Answer = run(db, batch, item)
        except (StoreError, OverflowError, UnicodeEncodeError) as error:
            answer = error if isinstance(error, StoreError) else StoreError(f"store: cannot be stored: {error}")
        except DatabaseError as error:
            if not db.in_transaction or getattr(error, "sqlite_errorcode", 0) & 0xFF != _CONSTRAINT:
                raise
            answer = StoreError(f"store: the command breaks the schema ({error}); nothing was written")
        if not isinstance(answer, Done):
            db.execute("ROLLBACK TO command")
        db.execute("RELEASE command")
        return answer

    def _write_entries(self, batch: Batch) -> None:
        rows, nodes = number(batch.entries, batch.frontier)
        if rows:
            insert(self._db, "audit_entry (seq, time, kind, operation, principal, body_sha256, body, leaf)", rows)
        if nodes:
            insert(self._db, "audit_node (level, idx, hash)", nodes)
        if rows or batch.epoch != self._epoch:
            frontier = batch.frontier
            self._db.execute(
                "UPDATE head SET epoch = ?, size = ?, root = ?, frontier = ?",
                (batch.epoch, frontier.size, frontier.root(), frontier.to_bytes()),
            )

    def _rolled_back(self, error: Exception) -> StoreError:
        """Before COMMIT: nothing of the batch stays. Only a full disk is something that passes by itself."""
        self._roll_back()
        if not _full(error) and self.failure is None:
            self.failure = (
                f"writing failed ({error}); nothing is written until the gateway is restarted: check the disk"
            )
        return StoreError(f"store: nothing was written: {error}; free some space or check the disk, then try again")

    def _commit_failed(self, error: Exception) -> StoreError:
        """In COMMIT: a full disk means that the commit frame was never written; after anything else only a restart can tell."""
        self._roll_back()
        if _full(error) and self.failure is None:
            return StoreError(f"store: nothing was written: {error}; free some space, then try again")
        self.failure = f"a commit failed ({error}); nothing is written until the gateway is restarted: check the disk"
        return StoreUnknown(
            f"store: {self.failure}; whether this command was kept is unknown: look it up after the restart"
        )

    def _play_log(self) -> None:
        """After the answers, so that nobody waits for it but who comes next. A full disk passes by itself, and the log keeps what it holds."""
        if self.failure is not None:
            return
        try:
            play_log(self._db)
        except DatabaseError as error:
            if not _full(error):
                self.failure = f"playing the log into the file failed ({error}); nothing is written until the gateway is restarted: check the disk"

    def _roll_back(self) -> None:
        try:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        except DatabaseError as error:
            self.failure = f"rolling back failed ({error}); nothing is written until the gateway is restarted"

    def _deliver(self, settled: Settled) -> None:
        try:
            self._loop.call_soon_threadsafe(self._settle, settled)
        except RuntimeError:
            # The loop is closed: nobody waits for an answer any more.
            return


_CONSTRAINT, _FULL = 19, 13
_UNKNOWN = "store: the writer ended while this was written; whether it was kept is unknown: look it up after a restart"


def _full(error: Exception) -> bool:
    return getattr(error, "sqlite_errorcode", 0) == _FULL


def _all(tickets: list[Ticket], error: StoreError) -> Settled:
    return Settled([(ticket, error) for ticket in tickets])
