"""A reader with a home directory, a terminal and a deployment: writes a page's files, types its commands, looks at what comes out."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from lockgate.cli.bootstrap import Ports
from lockgate.cli.deployment import Deployment, make_deployment, targets_place
from lockgate.cli.samples import TARGET_GID

START_SECONDS = 300.0
COMMAND_SECONDS = 480.0
RELOAD_SECONDS = 300.0
STOP_SECONDS = 240.0
PAGE = 500
"""Entries of the log that are asked for at once."""

READY = "Ctrl-C stops it."
ASKS = b"[y/N]: "


class Reader:
    """One deployment in one home directory; `dev` is the running `lockgate dev`, if any."""

    def __init__(self, ports: tuple[int, int], roots: Path) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="lockgate-docs-"))
        self.home.chmod(0o711)
        self.ports = ports
        self.dev: subprocess.Popen[bytes] | None = None
        self.said = ""
        self.programs: tuple[Path, ...] = ()
        """Folders of programs that this reader has installed; found before all others."""
        self._deployment(roots)

    @property
    def lockgate(self) -> Path:
        return self.home / ".lockgate"

    def _deployment(self, roots: Path) -> None:
        """What `lockgate dev` would make, on free ports, with the job roots that all test deployments share."""
        make_deployment(self.lockgate, Deployment("dev", dev=True, ports=Ports(*self.ports)))
        self.merge("~/.lockgate/runner.yaml", f"sandbox: {{roots_dir: {roots}}}")
        self.merge("~/.lockgate/gateway.yaml", "timing: {reload: 0.2}")

    def close(self) -> None:
        self.stop_dev()
        for path in (targets_place(self.lockgate), self.home):
            shutil.rmtree(path, ignore_errors=True)

    # -- processes

    def start_dev(self) -> str:
        """(Re)start `lockgate dev` and answer what it says once it is ready."""
        self.stop_dev()
        log = self.home / "dev.log"
        command = [sys.executable, "-m", "lockgate.cli", "dev"]
        with log.open("wb") as sink:
            self.dev = subprocess.Popen(
                command, env=self._environment(), stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + START_SECONDS
        while READY not in log.read_text(errors="replace"):
            assert self.dev.poll() is None and time.monotonic() < deadline, log.read_text(errors="replace")
            select.select([], [], [], 0.05)
        return self._plain(log.read_text(errors="replace"))

    def stop_dev(self) -> None:
        if self.dev is not None and self.dev.poll() is None:
            self.dev.send_signal(signal.SIGINT)
            self.dev.wait(STOP_SECONDS)
        self.dev = None

    def run(self, command: str, typed: str | None = None) -> tuple[int, str]:
        """Exit code and everything printed; with `typed`, on a terminal."""
        command = self._own_ports(command)
        if typed is not None:
            return self._on_terminal(command, typed)
        done = subprocess.run(
            ["bash", "-c", command],
            check=False,
            env=self._environment(),
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=COMMAND_SECONDS,
        )
        return done.returncode, self._plain(done.stdout.decode(errors="replace"))

    def lines(self, command: str, seconds: float = COMMAND_SECONDS) -> Iterator[str]:
        """What a command prints, line by line while it runs. Raises AssertionError, with all it printed, if it did not end well in time."""
        argv = ["timeout", str(seconds), "bash", "-c", self._own_ports(command)]
        pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        printed = ""
        with subprocess.Popen(argv, env=self._environment(), cwd=self.home, text=True, **pipes) as process:
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    printed += line
                    yield self._plain(line)
            finally:
                process.terminate()  # for a listener that left early; `timeout` passes it on
        assert process.returncode == 0, f"{command} ended {process.returncode}:\n{printed}"

    def _own_ports(self, command: str) -> str:
        for shown, own in zip((8400, 8401), self.ports, strict=True):
            command = command.replace(f":{shown}", f":{own}")
        return command

    def _on_terminal(self, command: str, typed: str) -> tuple[int, str]:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 240, 0, 0))
        process = subprocess.Popen(
            ["bash", "-c", command], env=self._environment(), cwd=self.home, stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        printed, answered = b"", False
        deadline = time.monotonic() + COMMAND_SECONDS
        while time.monotonic() < deadline and select.select([ours], [], [], COMMAND_SECONDS)[0]:
            try:
                part = os.read(ours, 65_536)
            except OSError:  # the other side is closed
                break
            printed += part
            if ASKS in printed and not answered:
                answered = os.write(ours, typed.encode() + b"\n") > 0
        os.close(ours)
        return process.wait(COMMAND_SECONDS), self._plain(printed.decode(errors="replace"))

    def _environment(self) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith("LOCKGATE_")}
        first = ":".join(map(str, (*self.programs, Path(sys.executable).parent)))
        path = f"{first}:{own.get('PATH', os.defpath)}"
        return own | {"HOME": str(self.home), "PATH": path, "NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "240"}

    def _plain(self, text: str) -> str:
        public, runners = self.ports
        plain = text.replace("\r\n", "\n").replace(str(self.home), "~")
        return plain.replace(f":{public}", ":8400").replace(f":{runners}", ":8401")

    # -- files

    def write(self, place: str, text: str) -> None:
        """A file of the page; what lies in a bin directory may be run, as the page's own chmod would make it."""
        path = self.path(place)
        before = self._loads()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._put(path, text)
        self._loaded(path, before)

    def merge(self, place: str, text: str) -> None:
        """Put a page's part of a YAML file into it."""
        path = self.path(place)
        before = self._loads()
        merged = _merged(yaml.safe_load(path.read_text("utf-8")), yaml.safe_load(text))
        if os.geteuid() == 0 and path.name == "runner.yaml":
            self._for_root(merged)
        self._put(path, yaml.safe_dump(merged, sort_keys=False, allow_unicode=True))
        self._loaded(path, before)

    def _put(self, path: Path, text: str) -> None:
        """A file is there as a whole or not at all: a running gateway looks at it several times a second."""
        draft = self.home / ".draft"
        draft.write_text(text, "utf-8")
        if path.exists():
            shutil.copymode(path, draft)
        draft.replace(path)

    def path(self, place: str) -> Path:
        assert place.startswith("~/"), f"{place}: must begin with ~/"
        return self.home / place[2:]

    def _for_root(self, runner: dict[str, Any]) -> None:
        """As docs/how-to/run-the-runner-as-root-or-user.md says: under root, a shared directory needs a group."""
        for target in runner["targets"].values():
            for shared in target.get("paths", []):
                place = self.lockgate / shared["path"]
                if "gid" not in shared and place.is_dir():
                    os.chown(place, 0, TARGET_GID)
                    place.chmod(0o2770)
                    shared["gid"] = TARGET_GID

    def _loads(self) -> int:
        """How many catalogs and policies the running gateway has recorded."""
        if self.dev is None:
            return 0
        token = (self.lockgate / "tokens" / "admin").read_text().strip()
        since = count = 0
        while True:
            url = f"http://127.0.0.1:{self.ports[0]}/api/v1/audit?since={since}&limit={PAGE}"
            request = urllib.request.Request(url, headers={"authorization": f"Bearer {token}"})
            with urllib.request.urlopen(request, timeout=60) as answer:
                entries = json.load(answer)["entries"]
            count += sum(entry["kind"] in ("catalog.loaded", "policy.loaded") for entry in entries)
            if len(entries) < PAGE:
                return count
            since = entries[-1]["seq"] + 1

    def _loaded(self, path: Path, before: int) -> None:
        if self.dev is None or path.parent.name not in ("catalog", "policy"):
            return
        deadline = time.monotonic() + RELOAD_SECONDS
        while self._loads() == before:
            assert time.monotonic() < deadline, f"{path}: the gateway did not take it; see `lockgate catalog check`"
            select.select([], [], [], 0.1)


def _merged(own: Any, given: Any) -> Any:
    """Objects are merged, lists are appended to, everything else is replaced."""
    if isinstance(own, dict) and isinstance(given, dict):
        return own | {name: _merged(own.get(name), value) for name, value in given.items()}
    if isinstance(own, list) and isinstance(given, list):
        return own + given
    return given


def words(command: str) -> list[str]:
    """A command's words as a shell sees them, without a pipe's other end."""
    return shlex.split(command.split("|", maxsplit=1)[0], comments=True)
