"""The cluster's programs as processes: started apart from whoever starts them, known by pid and start time, so that no other process is
ever ended for having got the same pid."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.place import ClusterError, Place

STOP_SECONDS = 15.0
KILL_SECONDS = 60.0
_START = 'umask 022; log=$1; shift; setsid "$@" </dev/null >>"$log" 2>&1 & echo $!'


@dataclass(frozen=True)
class Process:
    """One process, by pid and by the moment it started, in clock ticks since boot."""

    pid: int
    started: int

    def alive(self) -> bool:
        """Whether it still runs; a zombie does not."""
        return _started(self.pid) == self.started

    @contextlib.contextmanager
    def _handle(self) -> Iterator[int | None]:
        """A handle on this very process, None if it is gone."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            yield None
            return
        try:
            yield handle if self.alive() else None
        finally:
            os.close(handle)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, to it and no successor of its pid; one that is gone is left alone."""
        with self._handle() as handle, contextlib.suppress(ProcessLookupError):
            if handle is not None:
                signal.pidfd_send_signal(handle, number)

    def wait_gone(self, seconds: float) -> bool:
        """Whether it ended within `seconds`."""
        with self._handle() as handle:
            return handle is None or bool(select.select([handle], [], [], seconds)[0])


def _started(pid: int) -> int | None:
    """The start time of a living process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def find(pid: int) -> Process | None:
    """The process that has this pid now."""
    started = _started(pid)
    return None if started is None else Process(pid, started)


def recorded(place: Place, part: str) -> Process | None:
    """The living process of a part, or None."""
    try:
        pid, started = (place.home / "pids" / part).read_text().split()
    except FileNotFoundError:
        return None
    process = Process(int(pid), int(started))
    return process if process.alive() else None


def spawn(place: Place, part: str, argv: Sequence[str | Path]) -> Process:
    """Start a part in a session of its own, its output appended to its log; raises ClusterError if it ends at once."""
    log = place.log(part)
    words = ["sh", "-c", _START, "sh", str(log), *map(str, argv)]
    done = subprocess.run(words, cwd=place.home, check=True, stdout=subprocess.PIPE, text=True)
    process = find(int(done.stdout))
    if process is None:
        raise ClusterError(f"{part} ended at once; its last words:\n{last_words(log)}")
    (place.home / "pids" / part).write_text(f"{process.pid} {process.started}\n")
    return process


def stop(place: Place, part: str) -> None:
    """Ask a part to end, wait, and end it if it does not; one that does not run is no error."""
    process = recorded(place, part)
    if process is not None:
        process.signal(signal.SIGTERM)
        if not process.wait_gone(STOP_SECONDS):
            process.signal(signal.SIGKILL)
            if not process.wait_gone(KILL_SECONDS):
                raise ClusterError(f"{part} (pid {process.pid}) survives SIGKILL; see /proc/{process.pid}/stack")
    (place.home / "pids" / part).unlink(missing_ok=True)


def kill(place: Place, part: str) -> None:
    """End a part as a crash would; raises ClusterError if it does not run."""
    process = recorded(place, part)
    if process is None:
        raise ClusterError(f"{part} does not run")
    process.signal(signal.SIGKILL)
    if not process.wait_gone(KILL_SECONDS):
        raise ClusterError(f"{part} (pid {process.pid}) survives SIGKILL")


def last_words(log: Path, count: int = 4000) -> str:
    """The end of a log."""
    return log.read_text(errors="replace")[-count:] if log.exists() else "(no log)"
