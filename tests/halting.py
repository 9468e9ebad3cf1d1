"""Stands a process still and waits until it does; a signal that was sent is not one that was heard."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from pathlib import Path

PATIENCE = 60.0
PAUSE = threading.Event()
"""Never set."""


def halt(pid: int) -> None:
    """SIGSTOP, and every thread of the process has stopped. Go on with SIGCONT."""
    os.kill(pid, signal.SIGSTOP)
    halted(pid)


def halted(pid: int) -> None:
    """Wait until every thread of a process that got SIGSTOP has stopped: until then it may still answer."""
    deadline = time.monotonic() + PATIENCE
    while states := set(_states(pid)) - {"T"}:
        if time.monotonic() > deadline:
            raise AssertionError(f"process {pid} got SIGSTOP and is not stopped: threads in {sorted(states)}")
        PAUSE.wait(0.001)


def _states(pid: int) -> list[str]:
    """The state of each thread, as the kernel says it; one that ends while we look has none."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found.append((task / "stat").read_text().rsplit(") ", 1)[1][0])
    return found
