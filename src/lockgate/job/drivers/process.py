"""Runs one tool as a child: bounded in time and output, with its own environment and process group; it must never use a shell."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

GRACE_SECONDS = 2.0
_CHUNK = 1 << 16
_TICK = 0.05
_TICK_WITHOUT_PIPES = 0.002
_AFTER_EXIT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Command:
    """What to run: `argv[0]` an absolute path, `env` the child's whole environment, `seconds` until it is stopped, `keep_bytes` of each stream."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    seconds: float
    keep_bytes: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the child ended: exactly one of `exit_code` and `signal` is set once it ran; neither when it could not be started (`error` says why)."""

    exit_code: int | None
    signal: int | None
    timed_out: bool
    stdout: str
    stderr: str
    truncated: bool
    error: str = ""

    @property
    def status(self) -> str:
        """The stage status for this end: `timeout`, `killed`, `failed`, or `ok` for exit code 0."""
        if self.timed_out:
            return "timeout"
        if self.signal is not None:
            return "killed"
        return "ok" if self.exit_code == 0 else "failed"

    @property
    def how(self) -> str:
        """The end in words for a person."""
        if self.error:
            return self.error
        if self.timed_out:
            return "was stopped: it ran longer than its time limit"
        if self.signal is not None:
            return f"was killed by {_signal_name(self.signal)}"
        return f"ended with exit code {self.exit_code}"


class _Kept:
    """The first bytes of a stream; the rest is counted as lost, never held."""

    def __init__(self, limit: int) -> None:
        self.data = bytearray()
        self.lost = False
        self._limit = limit

    def add(self, chunk: bytes) -> None:
        room = self._limit - len(self.data)
        self.data += chunk[: max(room, 0)]
        self.lost = self.lost or len(chunk) > room

    @property
    def text(self) -> str:
        return self.data.decode("utf-8", "replace")


def run(command: Command, clock: Callable[[], float]) -> Outcome:
    """Run it to its end or its deadline (SIGTERM, then SIGKILL to the whole group). `clock`: monotonic seconds. Never raises for the child's sake."""
    if command.seconds <= 0:
        return Outcome(None, None, True, "", "", False, "was not started: the stage's time limit had passed")
    try:
        child = subprocess.Popen(
            list(command.argv),
            env=dict(command.env),
            cwd=command.cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return Outcome(None, None, False, "", "", False, f"could not be started: {command.argv[0]}: {reason}")
    kept = {"stdout": _Kept(command.keep_bytes), "stderr": _Kept(command.keep_bytes)}
    try:
        timed_out = _attend(child, command.seconds, kept, clock)
    finally:
        _signal_group(child, signal.SIGKILL)
        code = child.wait()
        for stream in (child.stdout, child.stderr):
            if stream is not None:
                stream.close()
    return Outcome(
        exit_code=code if code >= 0 else None,
        signal=-code if code < 0 else None,
        timed_out=timed_out,
        stdout=kept["stdout"].text,
        stderr=kept["stderr"].text,
        truncated=kept["stdout"].lost or kept["stderr"].lost,
    )


def _attend(child: subprocess.Popen[bytes], seconds: float, kept: dict[str, _Kept], clock: Callable[[], float]) -> bool:
    """Drain the child until it ended, stopping it at the deadline; True when it had to be stopped. The child is not reaped here."""
    deadline = clock() + seconds
    kill_at: float | None = None
    leave_at: float | None = None
    with selectors.DefaultSelector() as selector:
        for name, stream in (("stdout", child.stdout), ("stderr", child.stderr)):
            assert stream is not None  # noqa: S101 -- both were asked for as pipes
            selector.register(stream, selectors.EVENT_READ, name)
        while True:
            now, ended = clock(), _ended(child)
            if ended and (not selector.get_map() or (leave_at is not None and now >= leave_at)):
                return kill_at is not None
            if ended and leave_at is None:
                # A background child may hold the pipes: the group ends with its leader; one that left the group is not waited for.
                leave_at = now + _AFTER_EXIT_SECONDS
                _signal_group(child, signal.SIGKILL)
            elif kill_at is not None and now >= kill_at:
                _signal_group(child, signal.SIGKILL)
            elif kill_at is None and not ended and now >= deadline:
                kill_at = now + GRACE_SECONDS
                _signal_group(child, signal.SIGTERM)
            _drain(selector, kept)


def _ended(child: subprocess.Popen[bytes]) -> bool:
    # Not `poll`: an unreaped leader keeps its process id taken, so that a signal to the group can never reach a stranger.
    return os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _drain(selector: selectors.BaseSelector, kept: dict[str, _Kept]) -> None:
    for key, _ in selector.select(_TICK if selector.get_map() else _TICK_WITHOUT_PIPES):
        chunk = os.read(key.fd, _CHUNK)
        if chunk:
            kept[key.data].add(chunk)
        else:
            selector.unregister(key.fileobj)


def _signal_group(child: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
