"""Starts the servers as processes of their own, waits until they are ready, and stops them. It must leave none behind."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from lockgate.cli.exits import Exit
from lockgate.cli.problem import Problem
from lockgate.cli.serving import NOTIFY_VARIABLE

READY_SECONDS = 300.0
STOP_SECONDS = 60.0
TAIL_LINES = 12


@dataclass(slots=True)
class Child:
    """One `lockgate NAME …` process; its log lies in `log`."""

    name: str
    log: Path
    process: subprocess.Popen[bytes]
    notify: socket.socket = field(repr=False)
    folder: tempfile.TemporaryDirectory[str] = field(repr=False)

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def wait_ready(self, seconds: float = READY_SECONDS) -> None:
        """Until it says that it is ready. Raises Problem with the end of its log when it ended or stays silent."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if select.select([self.notify], [], [], 0.1)[0] and self.notify.recv(256).startswith(b"READY=1"):
                # Nothing more is told: the place goes now, so that not even a killed parent leaves it behind.
                self.folder.cleanup()
                return
            if not self.running:
                raise self.failed(f"ended with exit code {self.process.returncode}")
        raise self.failed(f"was not ready within {seconds:g} s")

    def failed(self, how: str) -> Problem:
        """The problem that this child ended or hangs."""
        return Problem(Exit.UNAVAILABLE, f"the {self.name} {how}\n{self.tail()}", fix=f"its whole log is {self.log}")

    def tail(self) -> str:
        """The last lines of its log."""
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - 16_384))
            lines = file.read().decode("utf-8", "replace").splitlines()
        return "\n".join(f"  {line[:400]}" for line in lines[-TAIL_LINES:])

    def stop(self, seconds: float = STOP_SECONDS) -> int:
        """SIGTERM, wait for it to drain, at last SIGKILL; its exit code. Idempotent."""
        if self.running:
            with suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.notify.close()
        self.folder.cleanup()
        return self.process.returncode


def start_child(name: str, arguments: Sequence[str], log: Path) -> Child:
    """Start `lockgate ARGUMENTS` in a session of its own. It ends when this process does, since its stdin then closes."""
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = tempfile.TemporaryDirectory(prefix="lockgate-")
    place = Path(folder.name) / "notify"
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    notify.bind(str(place))
    environment = {key: value for key, value in os.environ.items() if not key.startswith("LOCKGATE_TOKEN")}
    environment[NOTIFY_VARIABLE] = str(place)
    with _appending(log) as stream:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "lockgate.cli", *arguments, "--until-stdin-closes"],
            stdin=subprocess.PIPE,
            stdout=stream,
            stderr=stream,
            env=environment,
            start_new_session=True,
        )
    return Child(name, log, process, notify, folder)


def _appending(log: Path) -> IO[bytes]:
    return os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "ab")
