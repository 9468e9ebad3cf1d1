"""A whole deployment of real processes on loopback: gateway, runner, sandboxes; it must not reach into any of them."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.ports import free_ports

from lockgate.cli.bootstrap import Names, Ports, Samples, bootstrap
from lockgate.gateway.app import builtin_issuer
from lockgate.gateway.identity.issuer import TokenRequest
from lockgate.gateway.identity.port import Audience
from lockgate.gateway.settings import load_gateway_settings

ROOT = Path(__file__).resolve().parents[2]
GID = 650_000
START_SECONDS = 300.0
STOP_SECONDS = 180.0
"""Until a process that was told to end has: a runner finishes first what it has begun."""

END_STATES = {"succeeded", "planned", "denied", "failed", "cancelled", "expired"}

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
  variables: {service: service, replicas: replicas}
---
apiVersion: lockgate/v1
kind: Action
metadata: {name: service_status}
spec:
  title: Service status
  description: Says how many copies of a service run.
  effect: read
  risk: low
  targets: {labels: {tier: web}}
  driver: runbook
  entry: status
  arguments:
    type: object
    required: [service]
    properties:
      service: {type: string, maxLength: 40, pattern: "^[a-z][a-z0-9-]*$"}
  variables: {service: service}
---
apiVersion: lockgate/v1
kind: Action
metadata: {name: set_motd}
spec:
  title: Set the message of the day
  description: Writes the message of the day.
  effect: change
  risk: low
  idempotent: true
  targets: {names: [motd]}
  driver: ansible
  entry: site.yml
  arguments:
    type: object
    required: [message]
    properties:
      message: {type: string, maxLength: 400}
  variables: {message: message}
---
apiVersion: lockgate/v1
kind: Action
metadata: {name: remove_motd}
spec:
  title: Remove the message of the day
  description: Takes the message of the day away.
  effect: destroy
  risk: high
  idempotent: true
  targets: {names: [motd]}
  driver: ansible
  entry: remove.yml
  arguments: {type: object, properties: {}}
  variables: {}
---
apiVersion: lockgate/v1
kind: Target
metadata: {name: web-dev, labels: {tier: web}}
spec: {driver: runbook, source: service, environment: dev, region: local, limits: {wall_seconds: 60}, settings: {state_dir: /target}}
---
apiVersion: lockgate/v1
kind: Target
metadata: {name: web-prod, labels: {tier: web}}
spec: {driver: runbook, source: service, environment: production, region: local, limits: {wall_seconds: 60}, settings: {state_dir: /target}}
---
apiVersion: lockgate/v1
kind: Target
metadata: {name: motd}
spec: {driver: ansible, source: motd, environment: dev, region: local, limits: {wall_seconds: 120}, settings: {inventory: inventory.ini, variables: {target_dir: /target}}}
"""


@dataclass
class Process:
    """One process of the deployment with its log."""

    popen: subprocess.Popen[bytes]
    log: Path

    def stop(self, how: signal.Signals = signal.SIGTERM, seconds: float = STOP_SECONDS) -> int:
        if self.popen.poll() is None:
            self.popen.send_signal(how)
        return self.popen.wait(seconds)

    def end(self) -> None:
        """Stop it, and kill it where that does not help: for what a test that failed left waiting."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.stop()
        if self.popen.poll() is None:
            self.stop(signal.SIGKILL)


@dataclass
class Deployment:
    """A deployment below `home`; `targets` are host directories that the runner shows its sandboxes as /target, by target name."""

    home: Path
    public: int
    runners: int
    targets: dict[str, Path]
    sources: dict[str, Path]
    processes: dict[str, Process] = field(default_factory=dict)
    starts: int = 0
    under: dict[str, list[str]] = field(default_factory=dict)
    """What a process is started by, where it is not started as it is."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.public}"

    def start(self, what: str, *arguments: str) -> Process:
        """Start `gateway` or `runner` and wait until it is ready."""
        self.starts += 1
        log = self.home / f"{what}-{self.starts}.log"
        command = [sys.executable, "-m", "lockgate.cli", what, "--home", str(self.home), *arguments]
        command = [*self.under.get(what, []), *command]
        with log.open("wb") as sink:
            popen = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT)
        process = self.processes[what] = Process(popen, log)
        self._await_ready(what, process)
        return process

    def knows_hosts(self, what: str, hosts: Path) -> None:
        """Start `what` from now on where `hosts` is /etc/hosts, and everything else as on this machine; as root."""
        bound = 'mount --bind "$0" /etc/hosts && exec "$@"'
        self.under[what] = ["unshare", "--mount", "sh", "-c", bound, str(hosts)]

    def _await_ready(self, what: str, process: Process) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            text = process.log.read_text(errors="replace")
            if process.popen.poll() is not None:
                raise AssertionError(f"{what} ended with {process.popen.returncode}:\n{text[-4000:]}")
            if what == "gateway" and self.healthy():
                return
            if what == "runner" and "settled_from_before" in text:
                return
            _pause()
        raise AssertionError(f"{what} was not ready in time:\n{process.log.read_text(errors='replace')[-4000:]}")

    def healthy(self) -> bool:
        try:
            with urllib.request.urlopen(self.url + "/healthz", timeout=30) as answer:
                return bool(json.load(answer)["ready"])
        except (OSError, urllib.error.URLError, http.client.HTTPException, ValueError):
            return False  # not there, or gone in the middle of its answer

    def token(self, subject: str, kind: str = "human", *, roles: tuple[str, ...] = (), **changes: Any) -> str:
        """A token of the built-in issuer; an agent's owner is `alice` unless said otherwise."""
        settings = load_gateway_settings(self.home / "gateway.yaml")
        issuer = builtin_issuer(settings)
        assert issuer is not None
        now = time.time()
        fields: dict[str, Any] = {"roles": roles or ("operator",), "jti": os.urandom(12).hex()}
        if kind == "agent":
            fields |= {"audience": Audience.AGENT, "owner": "alice"}
        else:
            fields |= {"audience": Audience.HUMAN, "auth_time": int(now)}
        return issuer.issue(TokenRequest(subject=subject, **{**fields, **changes}), now)

    def rest(self, method: str, path: str, token: str | None, body: Any = None) -> tuple[int, Any]:
        """One REST call: status and JSON document."""
        headers = {"content-type": "application/json"}
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.url + path, data=data, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=90) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"null")

    def ask(self, action: str, target: str, arguments: dict[str, Any], token: str, **reserved: Any) -> dict[str, Any]:
        """Ask for an operation over REST and wait until it rests."""
        call = {**arguments, "target": target, **reserved}
        status, document = self.rest("POST", "/api/v1/operations", token, {"action": action, "arguments": call})
        assert status in (200, 201, 202), document
        document.setdefault("operation_id", document.get("id"))
        return document

    def settled(self, operation: str, token: str, *states: str, seconds: float = 300) -> dict[str, Any]:
        """The operation once it is in one of `states` (default: any end).

        An apply whose heartbeats a busy machine was too late for is indeterminate until its report, which says itself how it ended.
        """
        wanted = set(states) or END_STATES
        deadline = time.monotonic() + seconds
        while True:
            status, document = self.rest("GET", f"/api/v1/operations/{operation}?wait_seconds=5", token)
            assert status == 200, document
            if document["status"] in wanted:
                return document
            stuck = document["status"] in END_STATES or time.monotonic() > deadline
            assert not stuck, f"{told(document)}, not {' or '.join(sorted(wanted))}\n{self.logs()}"
            _pause()

    def logs(self) -> str:
        return "\n".join(
            f"--- {p.log.name}\n{p.log.read_text(errors='replace')[-3000:]}" for p in self.processes.values()
        )

    def stop(self) -> None:
        for name in ("runner", "gateway"):
            if name in self.processes:
                self.processes[name].stop()

    def end(self) -> None:
        """As `stop`, and nothing stays, however they are."""
        for name in ("runner", "gateway"):
            if name in self.processes:
                self.processes[name].end()


def told(operation: dict[str, Any]) -> str:
    """Where an operation is and what it waits for, in one line: CI shows one of a failure."""
    where = f"{operation.get('status')}({operation.get('effect')}) in {operation.get('phase')}"
    return f"{operation.get('id')} is {where}, waits for {operation.get('waiting_for')}: {operation.get('message')!r}"


def _pause() -> None:
    """Let the other processes run; every caller has a deadline and a condition."""
    asyncio.run(asyncio.sleep(0.05))


def roots_dir() -> Path:
    """One place for the job roots of all test deployments: they are named by their content."""
    base = Path("/var/lib/lockgate") if os.geteuid() == 0 else Path.home() / ".cache" / "lockgate"
    path = base / "test-roots"
    path.mkdir(mode=0o755, parents=True, exist_ok=True)
    return path


def make_deployment(home: Path, *, catalog: str = CATALOG, policy: bytes | None = None) -> Deployment:
    """Bootstrap a dev deployment with copies of the example sources and one writable directory a target."""
    public, runners = free_ports(2)
    sources = {name: home / "sources" / name for name in ("service", "motd")}
    for name, path in sources.items():
        shutil.copytree(ROOT / "examples" / "sources" / name, path)
    targets = {name: home / "targets" / name for name in ("web-dev", "web-prod", "motd")}
    gid = GID if os.geteuid() == 0 else None
    for path in targets.values():
        path.mkdir(parents=True)
        if gid is not None:
            os.chown(path, 0, gid)
            path.chmod(0o2775)
    driver = {"web-dev": "runbook", "web-prod": "runbook", "motd": "ansible"}
    source = {"web-dev": "service", "web-prod": "service", "motd": "motd"}
    shared = {name: {"path": str(path), "target": "/target", "mode": "write"} for name, path in targets.items()}
    if gid is not None:
        for item in shared.values():
            item["gid"] = gid  # type: ignore[assignment]
    runner = {
        "sources": {name: str(path) for name, path in sources.items()},
        "targets": {
            name: {
                "drivers": [driver[name]],
                "sources": [source[name]],
                "paths": [shared[name]],
                "credential_scopes": ["read", "write"],
            }
            for name in targets
        },
        "tools": {"ansible": {"any": True}},
        "sandbox": {"roots_dir": str(roots_dir())},
    }
    data = policy or (ROOT / "src/lockgate/policy/library/data.default.yaml").read_bytes()
    samples = Samples(files={"catalog/all.yaml": catalog.encode(), "policy/data.yaml": data}, runner=runner)
    now = time.time_ns() // 1_000_000
    bootstrap(home, Names("e2e"), dev=True, now=now, ports=Ports(public, runners), samples=samples)
    return Deployment(home, public, runners, targets, sources)


def _bootstrapped() -> Iterator[Deployment]:
    home = Path(tempfile.mkdtemp(prefix="lockgate-e2e-"))
    home.chmod(0o711)
    deployment = make_deployment(home)
    try:
        yield deployment
    finally:
        deployment.end()
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def bare_deployment() -> Iterator[Deployment]:
    """A bootstrapped deployment of the test's own with nothing running."""
    yield from _bootstrapped()


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    """Gateway and runner running, shared by the tests of one module; each uses services of its own names."""
    for found in _bootstrapped():
        found.start("gateway")
        found.start("runner")
        yield found
