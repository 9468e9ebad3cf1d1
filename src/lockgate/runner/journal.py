"""The runner's durable memory: a line per fact, on disk before the call returns; it must never hold a secret, only accessors.

A line that a crash tore off at the end was never acknowledged and is dropped; anything else that cannot be read stops the runner, since it
could no longer tell a replayed grant.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from lockgate.contract.evidence import Witness
from lockgate.keys.privatefile import sync_directory
from lockgate.runner.journalstate import JournaledCredential, JournalState, OpenAttempt, Record, RecordRefused

MAX_LINE: Final = 1 << 20
SLACK: Final = 1_000
"""How many lines more than needed the file may hold before it is rewritten."""


class JournalError(Exception):
    """The journal cannot be read or written; the runner must take no more work. The message names the file and what to do."""


class Journal:
    """One runner's journal. Every method that records returns only when it is durable; a few milliseconds. One process, one thread at a time."""

    def __init__(self, path: Path) -> None:
        """Open or create, and read it all. Raises JournalError: another process has it, or it is damaged."""
        self._path = path
        self._lock = _exclusive(path.with_name(path.name + ".lock"))
        self._file = -1
        try:
            self._state, self._end, self._lines = _read(path)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            os.ftruncate(self._file, self._end)
            os.fsync(self._file)
            sync_directory(path.parent)
        except OSError as error:
            self.close()
            raise JournalError(f"{path}: cannot be opened: {error.strerror}") from None
        except JournalError:
            self.close()
            raise

    def seen(self, attempt: str) -> bool:
        """Whether this attempt was ever started here."""
        return attempt in self._state.seen

    @property
    def witness(self) -> Witness | None:
        """The highest checkpoint witnessed."""
        return self._state.witness

    @property
    def open_attempts(self) -> tuple[OpenAttempt, ...]:
        """Attempts of which the gateway has no receipt, or none that proves their end; oldest first. After a crash the next start reaps and reports them."""
        return tuple(self._state.open.values())

    @property
    def live_sandboxes(self) -> frozenset[str]:
        """Sandboxes not yet proven gone."""
        return frozenset(box for attempt in self._state.open.values() for box in attempt.sandboxes)

    @property
    def live_credentials(self) -> tuple[JournaledCredential, ...]:
        """Credentials intended or issued and not revoked."""
        return tuple(item for attempt in self._state.open.values() for item in attempt.credentials)

    def first_sight(self, attempt: str, grant: str) -> bool:
        """Note an attempt with its grant (envelope text) before anything is done for it; False when it was seen before: a replay."""
        if self.seen(attempt):
            return False
        self._record({"k": "attempt", "attempt": attempt, "grant": grant})
        return True

    def sandbox_started(self, attempt: str, sandbox: str) -> None:
        """Note a sandbox before it is made."""
        self._record({"k": "box", "attempt": attempt, "id": sandbox})

    def sandbox_placed(self, sandbox: str, place: Mapping[str, str]) -> None:
        """Note where a provider put a sandbox, in its own words, so that it is looked for there after a restart; of one that is no attempt's, nothing."""
        if self.attempt_of(sandbox) is not None:
            self._record({"k": "placed", "id": sandbox, "place": dict(place)})

    def attempt_of(self, sandbox: str) -> str | None:
        """The open attempt that this sandbox is or was of."""
        for item in self._state.open.values():
            if sandbox in item.sandboxes or sandbox in item.gone:
                return item.attempt
        return None

    @property
    def places(self) -> Mapping[str, Mapping[str, str]]:
        """Where sandboxes of open attempts were put, by their ids."""
        return {box: place for item in self._state.open.values() for box, place in item.places.items()}

    def sandbox_gone(self, sandbox: str) -> None:
        """Note that a sandbox was looked for and is gone; idempotent."""
        self._record({"k": "gone", "id": sandbox})

    def credential_intended(self, attempt: str, scope: str) -> None:
        """Note that a broker is about to be asked."""
        self._record({"k": "intended", "attempt": attempt, "scope": scope})

    def credential_issued(self, attempt: str, accessor: str, scope: str = "write") -> None:
        """Note what the broker gave; it takes the place of what was intended."""
        self._record({"k": "issued", "attempt": attempt, "scope": scope, "accessor": accessor})

    def credential_not_issued(self, attempt: str, scope: str) -> None:
        """Note that the broker certainly gave nothing."""
        self._record({"k": "unissued", "attempt": attempt, "scope": scope})

    def credential_revoked(self, accessor: str) -> None:
        """Note a revocation; idempotent."""
        self._record({"k": "revoked", "accessor": accessor})

    def receipt_signed(self, attempt: str, receipt: str, *, proven: bool) -> None:
        """Keep a receipt (envelope text) until the gateway has it. `proven`: it proves the end of everything the attempt had."""
        self._record({"k": "receipt", "attempt": attempt, "receipt": receipt, "proven": proven})

    def receipt_taken(self, attempt: str) -> None:
        """The gateway acknowledged the receipt. One that proves nothing leaves the attempt open: what may be left of it is looked for until it is gone."""
        left = self._state.open.get(attempt)
        self._record({"k": "ended" if left is None or left.proven else "told", "attempt": attempt})

    def attempt_ended(self, attempt: str) -> None:
        """Nothing is left of it to tell anybody: forget all but that it was seen; idempotent."""
        self._record({"k": "ended", "attempt": attempt})

    def witnessed(self, witness: Witness) -> None:
        """Note the newest checkpoint found consistent; a smaller one than before is refused with JournalError."""
        if witness != self._state.witness:
            self._record({"k": "witness", "size": witness.size, "root": witness.root})

    def close(self) -> None:
        """Give the file up; idempotent."""
        for descriptor in (self._file, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._lock = -1

    def _record(self, record: Record) -> None:
        if self._file < 0:
            raise JournalError(f"{self._path}: is closed")
        line = _line(record)
        if len(line) > MAX_LINE:
            raise JournalError(f"{self._path}: a record of {len(line)} bytes; at most {MAX_LINE} are kept")
        # Applied first to find a contradiction before it is on disk; after a failed write nothing more is said from this state.
        try:
            self._state.apply(record)
        except RecordRefused as error:
            raise JournalError(f"{self._path}: {error}") from None
        try:
            _write_all(self._file, line, self._end)
            os.fsync(self._file)
            self._end += len(line)
            self._lines += 1
            self._compact()
        except OSError as error:
            self.close()
            raise JournalError(f"{self._path}: cannot be written: {error.strerror}; start again when it can") from None

    def _compact(self) -> None:
        if self._lines < SLACK:
            return
        records = self._state.records()
        if self._lines < 2 * len(records) + SLACK:
            return
        draft = self._path.with_name(self._path.name + ".new")
        content = b"".join(map(_line, records))
        descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            _write_all(descriptor, content, 0)
            os.fsync(descriptor)
            draft.replace(self._path)
        except OSError:
            os.close(descriptor)
            raise
        os.close(self._file)
        self._file, self._end, self._lines = descriptor, len(content), len(records)
        sync_directory(self._path.parent)


def _read(path: Path) -> tuple[JournalState, int, int]:
    state, end, lines = JournalState(), 0, 0
    data = path.read_bytes() if os.path.lexists(path) else b""
    while end < len(data):
        stop = data.find(b"\n", end) + 1
        last = stop == 0 or stop == len(data)
        try:
            record = _parse(data[end : stop or len(data)], whole=stop > 0)
        except ValueError:
            if last:
                break  # torn off by a crash before its fsync returned
            raise JournalError(
                f"{path}: line {lines + 1} is damaged; restore it, or give this runner a new identity"
            ) from None
        try:
            state.apply(record)
        except RecordRefused as error:
            raise JournalError(f"{path}: line {lines + 1}: {error}") from None
        end, lines = stop, lines + 1
    return state, end, lines


def _parse(line: bytes, *, whole: bool) -> Record:
    record: Any = json.loads(line)
    if not whole or not isinstance(record, dict):
        raise ValueError("not a record")
    return record


def _line(record: Record) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def _exclusive(path: Path) -> int:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise JournalError(f"{path}: cannot be opened: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise JournalError(f"{path}: another runner has this state directory; give each its own") from None
    return descriptor
