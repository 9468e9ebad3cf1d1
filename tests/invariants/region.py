"""A real runner beside a gate, in one process: its own configuration, journal, file broker and bubblewrap; only the wire between them is a call."""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from tests.invariants.gate import Gate

from lockgate.artifacts.directory import SealedDirectory
from lockgate.contract.codec import from_document, to_document
from lockgate.contract.runnerapi import (
    CredentialNote,
    Heartbeat,
    LeaseRequest,
    ReceiptNote,
    Report,
    StartRequest,
    Stop,
)
from lockgate.gateway.errors import Refusal
from lockgate.runner.app import boot_clock
from lockgate.runner.credentials.file import FileBroker
from lockgate.runner.journal import Journal
from lockgate.runner.keeping.states import StateKeeper
from lockgate.runner.loop import RunnerLoop
from lockgate.runner.parts import Parts, Trust
from lockgate.runner.sandbox.bubblewrap import BubblewrapSandbox, BubblewrapSettings
from lockgate.runner.sandbox.runtime_root import JobRoot
from lockgate.runner.sandbox.uids import UidRange
from lockgate.runner.settings import (
    CredentialSettings,
    RunnerKeys,
    RunnerSettings,
    SandboxSettings,
    SharedPath,
    TargetSettings,
)
from lockgate.runner.toolbox import open_toolbox
from lockgate.wire.client import GatewayClient, GatewayRefused

GID = 650_000
BODIES: dict[str, type[Any]] = {
    "heartbeat": Heartbeat,
    "give-back": Stop,
    "refuse": Stop,
    "start": StartRequest,
    "credential": CredentialNote,
    "report": Report,
    "receipt": ReceiptNote,
}
RUNBOOK = """version = 1
[tasks.set-replicas]
check = ["./tool", "check", "{replicas}"]
apply = ["./tool", "apply", "{replicas}"]
verify = ["./tool", "check", "{replicas}"]
parameters.replicas = { type = "integer", minimum = 0, maximum = 20 }
[tasks.status]
read = ["./tool", "status", "0"]
"""
TOOL = """#!/bin/sh
set -eu
state="$LOCKGATE_SETTING_STATE_DIR/replicas"
seen=$(ls "${LOCKGATE_CREDENTIALS:-/nowhere}" 2>/dev/null | tr '\\n' ' ') || true
now=null
[ ! -f "$state" ] || now=$(cat "$state")
case $1 in
check)
  [ "$now" != "$2" ] || exit 0
  echo "[{\\"address\\": \\"service.web\\", \\"type\\": \\"service_replicas\\", \\"name\\": \\"web\\", \\"change\\":
    {\\"actions\\": [\\"update\\"], \\"before\\": {\\"replicas\\": $now}, \\"after\\": {\\"replicas\\": $2, \\"seen\\": \\"$seen\\"}}}]"
  exit 2 ;;
apply)
  echo "$seen" > "$LOCKGATE_SETTING_STATE_DIR/seen"
  echo "$2" > "$state" ;;
status)
  echo "replicas: $now, seen: $seen" ;;
esac
"""


@dataclass
class Line:
    """Stands where the HTTP client stands: the same documents, both ways, handed to the gate's own door. It keeps all that was said."""

    gate: Gate
    said: list[tuple[str, str]] = field(default_factory=list)
    on_answer: dict[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)
    """By verb: what happens when its answer has come, before the runner sees it."""

    async def post(self, path: str, document: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        self.said.append((path, json.dumps(document)))
        attempt, verb = path.removeprefix("/runner/v1/attempts/").split("/")
        handler = getattr(self.gate.door, verb.replace("-", "_"))
        try:
            answer = await handler(self.gate.runner().peer, attempt, from_document(BODIES[verb], dict(document)))
        except Refusal as refusal:
            raise GatewayRefused(
                refusal.code, refusal.message, refusal.status, said=True, field=refusal.field
            ) from None
        if verb in self.on_answer:
            await self.on_answer[verb]()
        result: dict[str, Any] = to_document(answer)
        return result


@dataclass
class Region:
    """One runner with the target web-dev, whose state lies in `target`; `home` is reachable by the uids of its sandboxes."""

    gate: Gate
    home: Path
    job_root: JobRoot
    lag: int = 0
    """Milliseconds added to the runner's clock."""

    def __post_init__(self) -> None:
        self.source, self.target, self.secrets = (self.home / name for name in ("source", "target", "secrets"))
        for path in (self.source, self.target, self.home / "box"):
            path.mkdir()
            path.chmod(0o711)
        for path in (self.secrets, self.secrets / "web", self.home / "state"):
            path.mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(self.target, 0, GID)
            self.target.chmod(0o2775)
        self.write_source("runbook.toml", RUNBOOK)
        self.write_source("tool", TOOL)
        for name, text in {"token": "write-token-4711-xyz", "viewer": "read-viewer-0815-abc"}.items():
            self.write_secret(name, text)
        self.line = Line(self.gate)

    def write_source(self, name: str, text: str) -> None:
        path = self.source / name
        path.write_text(text)
        path.chmod(0o755 if text.startswith("#!") else 0o644)

    def write_secret(self, name: str, text: str) -> None:
        path = self.secrets / "web" / name
        path.write_text(text + "\n")
        path.chmod(0o600)

    def settings(self) -> RunnerSettings:
        nowhere = self.home / "unused"
        credential = CredentialSettings(
            read={"viewer": "secret://web/viewer"},
            write={"token": "secret://web/token"},
            read_is_read_only=True,
            prefixes=("secret://web/",),
        )
        shared = SharedPath(self.target, "/target", GID if os.geteuid() == 0 else None, "write")
        return RunnerSettings(
            id="runner-1",
            deployment="test",
            region="local",
            gateway="https://gateway.invalid",
            keys=RunnerKeys(nowhere, nowhere, nowhere, nowhere, nowhere, nowhere, nowhere),
            state_dir=self.home / "state",
            sandbox=SandboxSettings(base_dir=self.home / "box"),
            dev=True,
            sources={"service": self.source},
            targets={
                "web-dev": TargetSettings(
                    drivers=("runbook",),
                    sources=("service",),
                    paths=(shared,),
                    credential=credential,
                    credential_scopes=("read", "write"),
                )
            },
            broker="file",
            secrets_dir=self.secrets,
        )

    async def open(self) -> Region:
        keys, settings = self.gate.keys, self.settings()
        trust = Trust(keys.keyset, keys.keyset_envelope, base64.b64encode(keys.root.public))
        box = settings.sandbox
        self.sandbox = BubblewrapSandbox(BubblewrapSettings(box.base_dir, UidRange(box.uid_base, box.uid_count)))
        self.journal = Journal(settings.state_dir / "journal.jsonl")
        self.parts = Parts(
            settings=settings,
            trust=trust,
            gateway=cast(GatewayClient, self.line),
            sandbox=self.sandbox,
            capabilities=await self.sandbox.probe(),
            broker=FileBroker(self.secrets, lambda: trust.keyset, os.urandom, dev=True),
            job_root=self.job_root,
            journal=self.journal,
            signer=keys.runners["runner-1"][1],
            region_secret=b"r" * 32,
            toolbox=open_toolbox(settings),
            artifacts=SealedDirectory(settings.state_dir / "plans", b"r" * 32, os.urandom),
            states=StateKeeper(settings.state_dir / "states", b"r" * 32, os.urandom),
            clock=lambda: boot_clock() + self.lag,
            random=os.urandom,
        )
        return self

    async def close(self) -> None:
        await self.sandbox.close()
        self.journal.close()

    async def work(self) -> None:
        """Take one lease and see it through, as the runner's loop does."""
        request = LeaseRequest(os.urandom(16).hex(), ("runbook",), 0, self.journal.witness)
        answer = await self.gate.door.lease(self.gate.runner().peer, request)
        assert answer.offer is not None, "nothing was offered"
        await RunnerLoop(self.parts)._attempt(answer.offer)

    def state(self) -> str | None:
        """What the target's state says now."""
        path = self.target / "replicas"
        return path.read_text().strip() if path.exists() else None

    def reports(self, stage: str) -> list[str]:
        """The plans (as text) that were reported for a stage, or shown at start for `check`."""
        found = []
        for path, text in self.line.said:
            body = json.loads(text)
            if path.endswith("/report"):
                parts = body["stages"]
            elif path.endswith("/start") and body["manifest"]:
                parts = [body]
            else:
                continue
            for part in parts:
                payload = json.loads(base64.b64decode(json.loads(part["manifest"])["payload"]))
                if payload["stage"] == stage:
                    found.append(part["plan"] or json.dumps(payload["outcome"]))
        return found


def roots_dir() -> Path:
    """One place for the job roots of all tests: they are named by their content."""
    base = Path("/var/lib/lockgate") if os.geteuid() == 0 else Path.home() / ".cache" / "lockgate"
    path = base / "test-roots"
    path.mkdir(mode=0o755, parents=True, exist_ok=True)
    return path


def remove(home: Path) -> None:
    """Sealed directories are read-only; make them removable first."""
    for directory, _, _ in os.walk(home):
        Path(directory).chmod(0o700)
    shutil.rmtree(home)
