"""A deployment of real processes under supervisors that can be told when they die; it must not reach into a process but by its supervisor."""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml
from tests.e2e.conftest import ROOT, Deployment, make_deployment
from tests.faults.proxy import Proxy
from tests.faults.stepfaults import Fault

PATIENCE = 300.0
"""Seconds until a test gives up on something that must come; machines are noisy, and a test in CI that gives up too early costs more than a wait."""

LEASE = 5
SECRET = "write-token-4711-xyz"

TOOL = """#!/bin/sh
# replicas check|apply|status -- SERVICE [COUNT]: an apply adds a line; what holds is the last one.
# SERVICE.hold-STAGE makes that stage wait; an apply that waits says so in SERVICE.in-apply.
set -eu
state="$LOCKGATE_SETTING_STATE_DIR/$3"
while [ -e "$state.hold-$LOCKGATE_STAGE" ]; do
  [ "$LOCKGATE_STAGE" != apply ] || : > "$state.in-apply"
  sleep 0.1
done
now=null
[ ! -f "$state.applies" ] || now=$(tail -n 1 "$state.applies")
case $1 in
check)
  [ "$now" != "$4" ] || exit 0
  echo "[{\\"address\\": \\"x.$3\\", \\"type\\": \\"x\\", \\"name\\": \\"$3\\", \\"change\\": {\\"actions\\": [\\"update\\"], \\"before\\": $now, \\"after\\": $4}}]"
  exit 2 ;;
apply) echo "$4" >> "$state.applies" ;;
esac
"""


class Gone(AssertionError):
    """A process ended that should not have, or did not do what was waited for."""


class Supervised:
    """One supervisor with its present child. Not for two threads at once."""

    def __init__(self, what: str, home: Path, disk: int | None = None) -> None:
        """`disk`: the process's state directory is a disk of that many bytes."""
        self.what, self.home = what, home
        self.state = home / "state" / what
        small = [] if disk is None else [str(self.state), str(disk)]
        self.starts = 0
        self.pid = 0
        self.log = home / f"{what}.log"
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.supervisor", what, str(home), *small],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(home / f"{what}-supervisor.log").open("wb"),
            cwd=ROOT,
        )
        self._words: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._kept: list[dict[str, Any]] = []
        threading.Thread(target=self._listen, daemon=True).start()
        self._hear("ready")

    def start(self, fault: Fault | None = None, **trouble: Any) -> None:
        """Start the next child, with a fault in it from the beginning; returns once it was forked."""
        self.starts += 1
        self.log = self.home / f"{self.what}-{self.starts}.log"
        self._say(do="start", log=str(self.log), fault=asdict(fault) if fault else None, trouble=trouble)
        self.pid = self._hear("started")["started"]

    def arm(self, fault: Fault) -> None:
        """The process will do this at that moment, once."""
        self._say(do="arm", fault=asdict(fault))
        self._hear("armed")

    def trouble(self, **trouble: Any) -> None:
        """Change what is wrong with the process's world."""
        self._say(do="trouble", trouble=trouble)
        self._hear("armed")

    def hit(self, seconds: float = 0) -> bool:
        """Whether the armed moment was reached; waits for it up to `seconds`."""
        return self._take("hit", seconds) is not None

    def require_alive(self) -> None:
        """Raises Gone, saying how, when the child ended and no armed moment was reached: that would have been told before."""
        end = self._take("ended", 0)
        if end is None:
            return
        self._kept.append(end)
        if not any("hit" in item for item in self._kept):
            errors = (self.home / f"{self.what}-supervisor.log").read_text(errors="replace")
            raise Gone(f"{self.what} ended by itself: {end['ended']}\n{errors[-2000:]}\n{self.said()}")

    def ended(self) -> int:
        """Wait for the child's end; its status, negative for a signal."""
        self.pid = 0
        return int(self._hear("ended")["ended"])

    def kill(self, how: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal and wait for the end it brings."""
        if not self.pid:
            raise Gone(f"{self.what} is not running")
        os.kill(self.pid, how)
        return self.ended()

    def remount(self, *, read_only: bool) -> None:
        """The small disk, read-only or not, while the process is down."""
        self._say(do="remount", read_only=read_only)
        self._hear("remounted")

    def seen(self, path: Path) -> Path:
        """A path as the process sees it: its small disk is no other's."""
        return Path(f"/proc/{self.supervisor}/root{path}")

    @property
    def supervisor(self) -> int:
        """The supervisor's own process id."""
        return self._popen.pid

    def close_child(self) -> None:
        """End the child, if one lives, however it is."""
        if self.pid:
            with suppress(ProcessLookupError):  # it has ended by itself
                os.kill(self.pid, signal.SIGKILL)
            self.ended()

    def close(self) -> None:
        """End child and supervisor."""
        self.close_child()
        if self._popen.stdin is not None:
            self._popen.stdin.close()
        self._popen.wait(PATIENCE)

    def said(self) -> str:
        """The end of the child's log."""
        return self.all_said()[-4000:]

    def all_said(self) -> str:
        """The child's whole log."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def last_line(self) -> str:
        """The last line of the child's log that says something: for the first line of a failure."""
        lines = [line for line in self.all_said().splitlines() if line.strip()]
        return lines[-1][:300] if lines else "(nothing)"

    def _say(self, **words: Any) -> None:
        assert self._popen.stdin is not None
        self._popen.stdin.write(json.dumps(words).encode() + b"\n")
        self._popen.stdin.flush()

    def _listen(self) -> None:
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            self._words.put(json.loads(line))

    def _hear(self, word: str) -> dict[str, Any]:
        found = self._take(word, PATIENCE)
        if found is None:
            errors = (self.home / f"{self.what}-supervisor.log").read_text(errors="replace")
            raise Gone(f"{self.what}: waited for {word!r}, heard {self._kept}\n{errors[-2000:]}\n{self.said()}")
        return found

    def _take(self, word: str, seconds: float) -> dict[str, Any] | None:
        deadline = time.monotonic() + seconds
        while True:
            for item in self._kept:
                if word in item:
                    self._kept.remove(item)
                    return item
            try:
                left = deadline - time.monotonic()
                self._kept.append(self._words.get(timeout=left) if left > 0 else self._words.get_nowait())
            except queue.Empty:
                return None


@dataclass
class Plant:
    """One deployment with its two supervised processes and the line between them."""

    deployment: Deployment
    gateway: Supervised
    runner: Supervised
    proxy: Proxy
    kills: list[str] = field(default_factory=list)

    def up(self, what: str, fault: Fault | None = None, **trouble: Any) -> None:
        """Start a process and wait until it serves."""
        process: Supervised = getattr(self, what)
        process.start(fault, **trouble)
        deadline = time.monotonic() + PATIENCE
        while not self.serves(what):
            end = process._take("ended", 0.02)
            if end is not None:
                if fault is not None and any("hit" in item for item in process._kept):
                    process._kept.append(end)
                    return  # a caller came in at once, and with it the next death
                process.pid = 0
                raise Gone(f"{what} ended instead of serving:\n{process.said()}")
            if time.monotonic() > deadline:
                raise Gone(f"{what} does not serve:\n{process.said()}")

    def serves(self, what: str) -> bool:
        """Whether a process is ready: the gateway answers, the runner has settled what was left."""
        return self.deployment.healthy() if what == "gateway" else "settled_from_before" in self.runner.all_said()

    def again(self, what: str, cause: str, then: Fault | None = None) -> None:
        """After a death: count it, and start anew as a supervisor would, with the next fault already in it."""
        status = getattr(self, what).ended()
        if status != -signal.SIGKILL:
            raise Gone(f"{what} ended with {status}, not by our signal:\n{getattr(self, what).said()}")
        self.kills.append(cause)
        self.up(what, then)

    def logs(self) -> str:
        """What both said last."""
        return f"--- gateway\n{self.gateway.said()}\n--- runner\n{self.runner.said()}"


@contextmanager
def plant(*, disk: int | None = None) -> Iterator[Plant]:
    """A bootstrapped deployment with a counting tool, a write credential, short leases and a proxy in its line; nothing runs yet.

    `disk`: each process's state lies on a disk of that many bytes.
    """
    home = Path(tempfile.mkdtemp(prefix="lockgate-faults-"))
    home.chmod(0o711)
    deployment = make_deployment(home)
    proxy = Proxy(deployment.runners)
    settle(deployment, proxy.port)
    processes: list[Supervised] = []
    try:
        processes += [Supervised(what, home, disk) for what in ("gateway", "runner")]
        yield Plant(deployment, processes[0], processes[1], proxy)
    finally:
        for process in reversed(processes):
            process.close()
        proxy.close()
        remove(home)


def settle(deployment: Deployment, port: int) -> None:
    """Short leases, a counting tool, a secret that every apply gets, and the gateway behind that port."""
    home = deployment.home
    change(home / "gateway.yaml", {"timing": {"lease": LEASE}, "bounds": {"calls_per_second": 1000, "burst": 1000}})
    tool = deployment.sources["service"] / "bin" / "replicas"
    tool.write_text(TOOL)
    secrets = home / "secrets"
    for path in (secrets, secrets / "web"):
        path.mkdir(mode=0o700)
    (secrets / "web" / "token").write_text(SECRET + "\n")
    (secrets / "web" / "token").chmod(0o600)
    runner = yaml.safe_load((home / "runner.yaml").read_text())
    for name in ("web-dev", "web-prod"):
        runner["targets"][name]["credential"] = {
            "write": {"token": "secret://web/token"},
            "prefixes": ["secret://web/"],
        }
    change(home / "runner.yaml", {"gateway": f"https://127.0.0.1:{port}"})
    change(home / "runner.yaml", {"targets": runner["targets"], "broker": "file", "secrets_dir": str(secrets)})


def change(path: Path, values: dict[str, Any]) -> None:
    """Set top-level values of a YAML file."""
    document = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**document, **values}))


def remove(home: Path) -> None:
    """Sealed directories are read-only; make them removable first."""
    for directory, _, _ in os.walk(home):
        Path(directory).chmod(0o700)
    shutil.rmtree(home, ignore_errors=True)
