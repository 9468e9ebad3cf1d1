"""Runs a whole deployment on one machine: gateway and runner as processes of their own, stopped together. It serves nothing itself."""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lockgate.cli.children import Child, start_child
from lockgate.cli.exits import Exit
from lockgate.cli.home import gateway_settings
from lockgate.cli.opachild import opa_folder
from lockgate.cli.policywatch import PolicyWatch
from lockgate.cli.problem import Problem
from lockgate.cli.screen import Screen
from lockgate.policy.compile import opa_version
from lockgate.policy.opa import OpaFailed, OpaMissing, find_opa

LOOK_SECONDS = 1.0


@dataclass(slots=True)
class Running:
    """The servers of a deployment; `opa` where one decides in the gateway's place."""

    home: Path
    gateway: Child
    runner: Child
    opa: Child | None = None
    watch: PolicyWatch | None = None

    def restart_runner(self) -> None:
        """Drain the runner and start it anew, with the settings as they are now. Raises Problem."""
        self.runner.stop()
        self.runner = start_runner(self.home)
        self.runner.wait_ready()

    def wait(self) -> Child | None:
        """Until a signal asks to stop (None), or one of them ends by itself (that one)."""
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        old = {
            number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)
        }
        old_fd = signal.set_wakeup_fd(writing)
        try:
            while True:
                for child in (self.gateway, self.runner, self.opa):
                    if child is not None and not child.running:
                        return child
                if self.watch is not None:
                    self.watch.look()
                if not select.select([reading], [], [], LOOK_SECONDS)[0]:
                    continue
                if set(os.read(reading, 64)) & {signal.SIGINT, signal.SIGTERM}:
                    return None
        finally:
            signal.set_wakeup_fd(old_fd)
            for number, handler in old.items():
                signal.signal(number, handler)
            os.close(reading)
            os.close(writing)

    def stop(self) -> None:
        """The runner drains first, while the gateway still hears its reports."""
        self.runner.stop()
        self.gateway.stop()


@contextmanager
def running(home: Path, screen: Screen, *, opa: bool = False) -> Iterator[Running]:
    """Gateway and runner of a home, ready; with `opa`, the one that is found decides. Raises Problem when a port is busy or one does not become ready."""
    check_ports(home)
    settings = gateway_settings(home)
    version = deciding_opa() if opa and settings.policy.engine == "embedded" else None
    log = home / "logs" / "gateway.log"
    watch = PolicyWatch(log, screen)
    with opa_folder() as folder:
        beside = [] if version is None else ["--opa-folder", str(folder)]
        started = [start_child("gateway", ["gateway", "--home", str(home), *beside], log)]
        try:
            started[0].wait_ready()
            if version is not None:
                started.append(start_child("opa", ["opa", str(folder), "--home", str(home)], home / "logs" / "opa.log"))
                started[1].wait_ready()
            screen.note(f"gateway ready: {settings.public.url}")
            both = Running(home, started[0], start_runner(home), started[1] if version is not None else None, watch)
            try:
                both.runner.wait_ready()
                screen.note("runner ready")
                if version is not None:
                    screen.note(f"policy is decided by opa {version}, a child of this command")
                yield both
            finally:
                both.runner.stop()
        finally:
            for child in started:
                child.stop()


def deciding_opa() -> str | None:
    """The version of the `opa` that LOCKGATE_OPA or PATH names; None without one that runs."""
    try:
        return opa_version(find_opa())
    except (OpaMissing, OpaFailed):
        return None


def start_runner(home: Path) -> Child:
    """The runner of a home, not ready yet."""
    return start_child("runner", ["runner", "--home", str(home)], home / "logs" / "runner.log")


def check_ports(home: Path) -> None:
    """Say which port is busy, before anything is started. Raises Problem."""
    settings = gateway_settings(home)
    for flag, field, listener in (
        ("--port", "public.port", settings.public),
        ("--runner-port", "runners.port", settings.runners),
    ):
        if not port_free(listener.host, listener.port):
            raise busy(flag, field, listener.host, listener.port)


def busy(flag: str, field: str, host: str, port: int) -> Problem:
    """The problem of a busy port."""
    fix = f"stop what listens there, or choose another port: lockgate dev {flag} {port + 10}"
    return Problem(Exit.UNAVAILABLE, f"{field}: port {port} on {host} is in use", field=field, fix=fix)


def port_free(host: str, port: int) -> bool:
    """Whether one could listen there now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True
