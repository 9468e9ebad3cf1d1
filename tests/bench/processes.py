"""Real processes for the bench: one gateway of a fresh deployment, one echo server; it must not reach into them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.ports import free_ports

from lockgate.cli.bootstrap import Names, Ports, Samples, bootstrap
from lockgate.gateway.app import builtin_issuer
from lockgate.gateway.identity.issuer import TokenRequest
from lockgate.gateway.identity.port import Audience
from lockgate.gateway.settings import load_gateway_settings

ROOT = Path(__file__).resolve().parents[2]
POLICY_DATA = ROOT / "src/lockgate/policy/library/data.default.yaml"
START_SECONDS = 60.0
CALLS_PER_SECOND = 100_000
"""Raised from the shipped 20 a second and principal: the bench has 64 callers and means to be fast."""
SHIPPED_BUT = (
    f"as shipped but bounds.calls_per_second and burst ({CALLS_PER_SECOND:,}; shipped: 20 and 40 a principal), bounds.queued_per_tenant"
    " (1,000,000; shipped: 1,000: no runner takes anything away) and telemetry.metrics_port (to read the loop's lag)",
)

CATALOG = """
apiVersion: lockgate/v1
kind: Action
metadata: {name: set_replicas}
spec:
  title: Set replicas
  description: Sets how many copies of a service run.
  effect: change
  risk: low
  idempotent: true
  targets: {labels: {tier: web}}
  driver: runbook
  entry: set-replicas
  arguments:
    type: object
    required: [service, replicas]
    properties:
      service: {type: string, maxLength: 40, pattern: "^[a-z][a-z0-9-]*$"}
      replicas: {type: integer, minimum: 0, maximum: 20}
      note: {type: string, maxLength: 400}
  variables: {service: service, replicas: replicas, note: note}
"""
TARGET = """---
apiVersion: lockgate/v1
kind: Target
metadata: {name: web-%d, labels: {tier: web}}
spec: {driver: runbook, source: service, environment: dev, region: local, settings: {state_dir: /target}}
"""
TARGETS = 8


@dataclass(frozen=True, slots=True)
class Served:
    """A server process that answers on loopback."""

    pid: int
    port: int


@dataclass(frozen=True, slots=True)
class Home:
    """A bootstrapped deployment whose gateway can be started."""

    path: Path
    port: int
    metrics: int

    def metric(self, name: str) -> float:
        """The value of a metric without labels, as the running gateway tells it."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}/metrics", timeout=10) as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith(name + " "):
                    return float(line.rpartition(" ")[2])
        raise RuntimeError(f"the gateway has no metric {name}")

    def token(self, subject: str, *roles: str) -> str:
        """An agent's token of the built-in issuer."""
        issuer = builtin_issuer(load_gateway_settings(self.path / "gateway.yaml"))
        if issuer is None:
            raise RuntimeError("the bench deployment has no built-in issuer")
        request = TokenRequest(subject, Audience.AGENT, os.urandom(12).hex(), owner="alice", roles=roles)
        return issuer.issue(request, time.time())


@contextlib.contextmanager
def directory(below: Path) -> Iterator[Path]:
    """A directory that is gone afterwards; other uids may pass through it to what is theirs."""
    below.mkdir(parents=True, exist_ok=True)
    path = Path(tempfile.mkdtemp(prefix="bench-", dir=below))
    path.chmod(0o711)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def make_home(path: Path, more_data: str = "") -> Home:
    """A dev deployment as `lockgate init` makes it: default policy library and data, durable store, one action on eight targets.

    `more_data` is added to the policy data.
    """
    public, runners, metrics = free_ports(3)
    catalog = CATALOG + "".join(TARGET % number for number in range(TARGETS))
    samples = Samples(
        files={
            "catalog/bench.yaml": catalog.encode(),
            "policy/data.yaml": POLICY_DATA.read_bytes() + more_data.encode(),
        },
        gateway={
            "bounds": {"calls_per_second": CALLS_PER_SECOND, "burst": CALLS_PER_SECOND, "queued_per_tenant": 1_000_000},
            "telemetry": {"metrics_port": metrics},
        },
    )
    now = time.time_ns() // 1_000_000
    bootstrap(path, Names("bench"), dev=True, now=now, ports=Ports(public, runners), samples=samples)
    return Home(path, public, metrics)


@contextlib.contextmanager
def gateway(home: Home) -> Iterator[Served]:
    """The gateway of a home, as `lockgate gateway` starts it."""
    command = [sys.executable, "-m", "lockgate.cli", "gateway", "--home", str(home.path)]
    with _process(command, home.path / "gateway.log", lambda: _healthy(home.port)) as pid:
        yield Served(pid, home.port)


@contextlib.contextmanager
def echo(place: Path) -> Iterator[Served]:
    """The bare SDK's echo server."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "tests.bench.echo", str(port)]
    with _process(command, place / "echo.log", lambda: _listens(port)) as pid:
        yield Served(pid, port)


@contextlib.contextmanager
def _process(command: list[str], log: Path, ready: Callable[[], bool]) -> Iterator[int]:
    with log.open("wb") as sink:
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command} did not start:\n{log.read_text(errors='replace')[-3000:]}")
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.05)
        yield process.pid
        if process.poll() is not None:
            raise RuntimeError(f"{command} ended while measured:\n{log.read_text(errors='replace')[-3000:]}")
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2) as answer:
            return bool(json.load(answer)["ready"])
    except OSError:
        return False


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except OSError:
        return False
    return True
