"""The SQLite store: binds writer, readers and feed to the `Store` port; it must not be opened twice, by this process or another."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from lockgate.gateway.store.feed import Feed, Subscription
from lockgate.gateway.store.port import Command, Outcome, Query, StoreBusy, StoreError
from lockgate.gateway.store.sqlite.connection import Connection, DatabaseError, open_reader, open_writer
from lockgate.gateway.store.sqlite.place import ProcessLock, prepare
from lockgate.gateway.store.sqlite.prepared import prepared
from lockgate.gateway.store.sqlite.queries import AT_ONCE, IN_LOOP, IN_THREAD
from lockgate.gateway.store.sqlite.schema import migrate
from lockgate.gateway.store.sqlite.writer import Settled, Ticket, Writer

R = TypeVar("R")
READERS = 2


@dataclass(slots=True)
class _Opened:
    """Everything that exists between `migrate` and `close`."""

    lock: ProcessLock
    db: Connection
    writer: Writer
    point_reader: Connection
    readers: SimpleQueue[Connection]
    pool: ThreadPoolExecutor


class SqliteStore:
    """One file, one process. Nothing is opened before `migrate`; at most `queue_limit` commands are in flight."""

    def __init__(self, path: Path | str, *, queue_limit: int = 4096, batch_limit: int = 512) -> None:
        self._path = Path(path)
        self._queue_limit = queue_limit
        self._batch_limit = batch_limit
        self._in_flight = 0
        self._gathered: list[Ticket] = []
        self._feed = Feed()
        self._open: _Opened | None = None

    @property
    def failure(self) -> str | None:
        """Why the store refuses to write, for readiness checks; None while it is well."""
        if self._open is None:
            return "the store is not open"
        return self._open.writer.failure

    @property
    def commits(self) -> int:
        """How many transactions (each at least one fsync) were committed since it was opened."""
        return self._open.writer.commits if self._open else 0

    @property
    def waiting(self) -> int:
        """How many commands wait for their answer."""
        return self._in_flight

    async def migrate(self) -> None:
        """Take the lock, open the file, bring its schema up to date, start the writer; again: nothing. Raises StoreError, StoreLocked."""
        if self._open is None:
            lock, db = await asyncio.to_thread(_open_file, self._path)
            readers: SimpleQueue[Connection] = SimpleQueue()
            for _ in range(READERS):
                readers.put(open_reader(self._path))
            writer = Writer(db, self._settle, self._batch_limit)
            pool = ThreadPoolExecutor(READERS, thread_name_prefix="lockgate-store-reader")
            self._open = _Opened(lock, db, writer, open_reader(self._path), readers, pool)
            writer.start()

    async def commit(self, command: Command) -> Outcome:
        """See the port. A caller that is cancelled leaves its command to run its course."""
        opened = self._opened()
        if opened.writer.failure is not None:
            raise StoreError(f"store: {opened.writer.failure}")
        if self._in_flight >= self._queue_limit:
            raise StoreBusy(f"store: {self._queue_limit} commands are waiting already; nothing was written; try again")
        ticket = Ticket(prepared(command), asyncio.get_running_loop().create_future())
        self._in_flight += 1
        if not self._gathered:
            # Handed over when this turn of the loop is done, together with what else it brings: woken by the first, the writer
            # would fight the loop for the interpreter and pay a transaction and an fsync for every few commands.
            asyncio.get_running_loop().call_soon(self._hand_over, opened.writer)
        self._gathered.append(ticket)
        return await ticket.future

    def _hand_over(self, writer: Writer) -> None:
        tickets, self._gathered = self._gathered, []
        for ticket in tickets:
            writer.put(ticket)

    async def read(self, query: Query[R]) -> R:
        """See the port. Raises StoreError."""
        opened = self._opened()
        try:
            answer = IN_LOOP.get(type(query))
            if answer is not None:
                result: R = answer(opened.point_reader, query)
                return result
            tried = AT_ONCE.get(type(query))
            if tried is not None and (result := tried(opened.point_reader, query)) is not None:
                return result
            return await asyncio.get_running_loop().run_in_executor(opened.pool, _read, opened.readers, query)
        except DatabaseError as error:
            raise StoreError(f"store: reading failed: {error}") from None

    def changes(self, since: int | None = None) -> Subscription:
        """See the port. Counts from this call on; with `since` (a `tree_size`) a first empty set says look again."""
        reader = self._feed.subscribe()
        if since is not None:
            reader.put(frozenset())
        return reader

    async def close(self) -> None:
        """Finish what was accepted, end every reader of changes, release the lock; again: nothing."""
        opened, self._open = self._open, None
        if opened is not None:
            self._hand_over(opened.writer)
            await asyncio.to_thread(_close, opened)
            # The last batch was delivered before the thread ended; let the loop hand it out.
            await asyncio.sleep(0)
            self._feed.close()

    def _opened(self) -> _Opened:
        if self._open is None:
            raise StoreError("store: it is not open; call migrate() first, and nothing after close()")
        return self._open

    def _settle(self, settled: Settled) -> None:
        self._in_flight -= len(settled.answers)
        for ticket, answer in settled.answers:
            if ticket.future.done():
                continue
            if isinstance(answer, StoreError):
                ticket.future.set_exception(answer)
            else:
                ticket.future.set_result(answer)
        self._feed.publish(settled.touched, settled.moved)


def _open_file(path: Path) -> tuple[ProcessLock, Connection]:
    prepare(path)
    with ExitStack() as undo:
        lock = ProcessLock(path)
        undo.callback(lock.release)
        db = open_writer(path)
        undo.callback(db.close)
        migrate(db)
        undo.pop_all()
    return lock, db


def _read(readers: SimpleQueue[Connection], query: Query[Any]) -> Any:
    answer = IN_THREAD.get(type(query))
    if answer is None:
        raise StoreError(f"store: no such query: {type(query).__name__}")
    db = readers.get()
    try:
        return answer(db, query)
    finally:
        readers.put(db)


def _close(opened: _Opened) -> None:
    opened.writer.stop()
    opened.pool.shutdown()
    opened.point_reader.close()
    while not opened.readers.empty():
        opened.readers.get().close()
    opened.db.close()
    opened.lock.release()
