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
from lockgate.cli.problem import Problem
from lockgate.cli.screen import Screen


@dataclass(slots=True)
class Running:
    """Both servers of a deployment."""

    home: Path
    gateway: Child
    runner: Child

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
                for child in (self.gateway, self.runner):
                    if not child.running:
                        return child
                select.select([reading], [], [], 60)
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
def running(home: Path, screen: Screen) -> Iterator[Running]:
    """Gateway and runner of a home, ready. Raises Problem when a port is busy or one does not become ready."""
    check_ports(home)
    gateway = start_child("gateway", ["gateway", "--home", str(home)], home / "logs" / "gateway.log")
    try:
        gateway.wait_ready()
        screen.note(f"gateway ready: {gateway_settings(home).public.url}")
        both = Running(home, gateway, start_runner(home))
        try:
            both.runner.wait_ready()
            screen.note("runner ready")
            yield both
        finally:
            both.runner.stop()
    finally:
        gateway.stop()


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
