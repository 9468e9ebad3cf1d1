"""The test-only launcher: starts a gateway or a runner in a forked child as the CLI would, arms faults in it, and tells how it ended.

`python -m tests.faults.supervisor gateway|runner HOME [DIRECTORY BYTES]`; with the latter, that directory is a small disk of the process's own.
Lines of JSON come in (`start`, `arm`, `trouble`, `remount`) and go out (`started`, `armed`, `remounted`, `hit`, `ended`).
The product is imported once, here, so that a start after a kill costs a fork; nothing of it runs in this process.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import pkgutil
import selectors
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from tests.faults.stepfaults import Armed, Fault, install, install_gateway, install_runner
from tests.faults.troubles import Troubles, read_only, small_disk

STEPS = {
    "gateway": ("lockgate.gateway.admission", "lockgate.gateway.progress"),
    "runner": ("lockgate.runner.run",),
}
PR_SET_PDEATHSIG = 1


def preload(what: str) -> None:
    """Import everything that zone and CLI may import later."""
    for package in (f"lockgate.{what}", "lockgate.cli", "lockgate.contract", "lockgate.keys", "lockgate.wire"):
        found = importlib.import_module(package)
        for item in pkgutil.walk_packages(found.__path__, f"{package}."):
            if not item.name.endswith("__main__"):
                importlib.import_module(item.name)
    importlib.import_module("uvloop")


def say(descriptor: int, **words: Any) -> None:
    """One line to the test; short enough to arrive in one piece."""
    os.write(descriptor, json.dumps(words).encode() + b"\n")


def child(what: str, home: Path, orders: int, words: int, given: dict[str, Any]) -> None:
    """The product's own main, with wrapped steps and a thread that listens for what to arm."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    armed = Armed(lambda fault: say(words, hit=fault.name))
    armed.fault = Fault(**given["fault"]) if given["fault"] else None
    install(armed, [importlib.import_module(name) for name in STEPS[what]])
    (install_gateway if what == "gateway" else install_runner)(armed)
    troubles = Troubles(what, given["trouble"])
    troubles.begin()

    def listen() -> None:
        with os.fdopen(orders) as lines:
            for line in lines:
                order = json.loads(line)
                if "trouble" in order:
                    troubles.change(order["trouble"])
                else:
                    armed.fault = Fault(**order["fault"])
                say(words, armed=True)

    threading.Thread(target=listen, name="test-orders", daemon=True).start()
    from lockgate.cli.main import main

    sys.argv = ["lockgate", what, "--home", str(home)]
    main()


class Supervisor:
    """One process after another."""

    def __init__(self, what: str, home: Path, words: int) -> None:
        self._what, self._home, self._words = what, home, words
        self._orders = -1
        self._pid = 0

    def start(self, given: dict[str, Any]) -> int:
        """Fork the next child; answers a descriptor that is readable when it has ended."""
        theirs, self._orders = os.pipe()
        pid = os.fork()
        if pid == 0:
            sink = os.open(given["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            words = os.dup(self._words)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(sink, 1)
            os.dup2(sink, 2)
            os.close(self._orders)
            code = 70
            try:
                child(self._what, self._home, theirs, words, given)
                code = 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        os.close(theirs)
        self._pid = pid
        say(self._words, started=pid)
        return os.pidfd_open(pid)

    def ended(self) -> None:
        """Collect the child and say how it ended."""
        status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        os.close(self._orders)
        say(self._words, ended=status)

    def pass_on(self, line: bytes) -> None:
        """An order for the child; one that is dead is no error, the test hears of its end."""
        try:
            os.write(self._orders, line)
        except OSError:
            return


def main() -> None:
    what, home = sys.argv[1], Path(sys.argv[2])
    words = os.dup(1)
    preload(what)
    disk = Path(sys.argv[3]) if len(sys.argv) > 3 else None
    if disk is not None:
        small_disk(disk, int(sys.argv[4]))
    supervisor = Supervisor(what, home, words)
    say(words, ready=True)
    with selectors.DefaultSelector() as waiting, os.fdopen(0, "rb", buffering=0) as orders:
        waiting.register(orders, selectors.EVENT_READ, None)
        pending = b""
        while True:
            for key, _ in waiting.select():
                if key.data is not None:
                    waiting.unregister(key.fd)
                    os.close(key.fd)
                    supervisor.ended()
                    continue
                got = orders.read(1 << 16)
                if not got:
                    return
                *lines, pending = (pending + got).split(b"\n")
                for line in lines:
                    order = json.loads(line)
                    if order["do"] == "start":
                        fd = supervisor.start(order)
                        waiting.register(fd, selectors.EVENT_READ, "child")
                    elif order["do"] == "remount" and disk is not None:
                        read_only(disk, value=order["read_only"])
                        say(words, remounted=True)
                    else:
                        supervisor.pass_on(line + b"\n")


if __name__ == "__main__":
    main()
