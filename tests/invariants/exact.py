"""A real runner with a target of exact fidelity beside a gate, where only what runs inside a sandbox is played: each stage by a function of the test.

Runner, journal, keepers and gateway are the real ones; so is every document between them. What a job would have found in its sandbox is kept.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from tests.invariants.gate import Gate
from tests.invariants.parties import Shelf, catalog
from tests.invariants.region import Line

from lockgate.artifacts.directory import SealedDirectory
from lockgate.contract.codec import to_document
from lockgate.contract.jobchannel import SANDBOX_PLAN, SANDBOX_STATE_FILE, VERSION, JobResult
from lockgate.contract.runnerapi import LeaseRequest
from lockgate.contract.state import StateMark
from lockgate.runner.app import boot_clock
from lockgate.runner.credentials.file import FileBroker
from lockgate.runner.journal import Journal
from lockgate.runner.keeping.states import StateKeeper
from lockgate.runner.loop import RunnerLoop
from lockgate.runner.parts import Parts, Trust
from lockgate.runner.sandbox.port import ExitReport, SandboxCapabilities, SandboxSpec, TeardownProof
from lockgate.runner.sandbox.runtime_root import JobRoot
from lockgate.runner.settings import (
    CredentialSettings,
    ProviderSettings,
    RunnerKeys,
    RunnerSettings,
    SandboxSettings,
    TargetSettings,
    ToolSettings,
)
from lockgate.runner.toolbox import open_toolbox
from lockgate.wire.client import GatewayClient

CATALOG = """
apiVersion: lockgate/v1
kind: Action
metadata: {name: write_note}
spec:
  title: Write
  description: Writes the note.
  effect: change
  risk: low
  idempotent: true
  targets: {labels: {kind: note}}
  driver: opentofu
  entry: .
  arguments: {type: object, properties: {text: {type: string, maxLength: 100}}}
  variables: {text: text}
---
apiVersion: lockgate/v1
kind: Target
metadata: {name: note, labels: {kind: note}}
spec: {driver: opentofu, source: note, environment: dev, region: local, limits: {wall_seconds: 60}, settings: {engine: opentofu, state: runner}}
"""
AGENT_TEXT = "words-of-the-agent-4711"
PLAN_SECRET = "in-the-plan-file-0815"
STATE_SECRET = "in-the-state-file-2342"
BLANK = JobResult("ok", 0, (), (), (), (), "", "", "", False)
PLAN_FILE = b"PK plan of one change " + PLAN_SECRET.encode()
EMPTY_FILE = b"PK plan of nothing " + PLAN_SECRET.encode()


@dataclass
class Inside:
    """What one stage's job finds in its sandbox."""

    stage: str
    spec: SandboxSpec
    inputs: Mapping[str, Any] = field(default_factory=dict)
    went: bool = False

    def file(self, target: str) -> bytes | None:
        return next((file.content for file in self.spec.files if file.target == target), None)

    @property
    def plan_file(self) -> bytes | None:
        return self.file(SANDBOX_PLAN)

    @property
    def state_file(self) -> Path | None:
        """The state an apply may write."""
        return next((bind.source for bind in self.spec.binds if bind.target == SANDBOX_STATE_FILE), None)

    @property
    def targets(self) -> set[str]:
        return {bind.target for bind in self.spec.binds} | {file.target for file in self.spec.files}


Play = Callable[[Inside], JobResult]


@dataclass
class Channel:
    """A job's end of the conversation, played."""

    inside: Inside
    play: Play
    step: int = 0

    async def send(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "inputs":
            self.inside.inputs = dict(message)
        else:
            self.inside.went = True

    async def receive(self) -> dict[str, Any]:
        self.step += 1
        if self.step == 1:
            return {"type": "hello", "version": VERSION}
        if self.step == 2:
            return {"type": "ready"}
        result: JobResult = await asyncio.to_thread(self.play, self.inside)
        return {"type": "result", **json.loads(json.dumps(to_document(result)))}

    async def close(self) -> None:
        return


@dataclass
class Running:
    id: str
    channel: Channel
    limits_in_force: Mapping[str, str] = field(default_factory=dict)
    uid_shared: bool = False
    tunnels: tuple[Any, ...] = ()
    image: str | None = None

    async def wait(self) -> ExitReport:
        return ExitReport("exit", 0)


@dataclass
class PlayedSandbox:
    """A Sandbox provider whose jobs are functions of the test, by stage."""

    plays: dict[str, Play]
    name: str = "bubblewrap"
    ran: list[Inside] = field(default_factory=list)
    prepares: bool = False
    foreseen: list[SandboxSpec] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    """What it was asked for, in order: a verb and a stage's name, or the id of a sandbox that nobody was told of."""

    async def probe(self) -> SandboxCapabilities:
        return SandboxCapabilities(self.name, True, False, {})

    async def start(self, spec: SandboxSpec) -> Running:
        inside = Inside(spec.stage, spec)
        self.ran.append(inside)
        self.told.append(f"start {spec.stage}")
        return Running(spec.id, Channel(inside, self.plays[spec.stage]))

    async def destroy(self, sandbox_id: str) -> TeardownProof:
        specs = [inside.spec for inside in self.ran] + self.foreseen
        self.told.append("destroy " + next((spec.stage for spec in specs if spec.id == sandbox_id), sandbox_id))
        return TeardownProof(sandbox_id, True, {"processes": True}, 0, 0, "gone")

    async def patrol(self) -> None:
        pass

    def foresee(self, enclosure: str, following: SandboxSpec | None) -> bool:
        self.told.append(f"foresee {following.stage if following is not None else 'the end'}")
        self.foreseen += [following] if following is not None else []
        return self.prepares

    async def release(self, enclosure: str) -> None:
        return

    async def reap(self, keep: Collection[str]) -> list[TeardownProof]:
        return []

    async def close(self) -> None:
        return

    def stages(self) -> list[str]:
        return [inside.stage for inside in self.ran]

    def last(self, stage: str) -> Inside:
        return [inside for inside in self.ran if inside.stage == stage][-1]


def change(*actions: str, after: Any = "text") -> dict[str, Any]:
    body = {
        "actions": list(actions),
        "before": None,
        "after": {"content": after},
        "after_sensitive": {},
        "before_sensitive": False,
    }
    return {
        "address": "local_file.note",
        "mode": "managed",
        "type": "local_file",
        "name": "note",
        "provider_name": "p",
        "change": body,
    }


def planned(plan_file: bytes) -> JobResult:
    """A plan stage's honest result."""
    return replace(BLANK, plan_file=base64.b64encode(plan_file).decode())


def meaning(inside: Inside) -> JobResult:
    """What the played engine says of a plan file: EMPTY_FILE changes nothing, any other creates the note."""
    changes = () if inside.plan_file == EMPTY_FILE else (change("create"),)
    return replace(BLANK, changes=changes, document={"terraform_version": "1.11.4", "timestamp": os.urandom(4).hex()})


def state(serial: int, lineage: str = "l-1") -> bytes:
    return json.dumps({"version": 4, "serial": serial, "lineage": lineage, "secret": STATE_SECRET}).encode()


def writes(data: bytes, result: JobResult = BLANK) -> Play:
    """An apply that leaves `data` as its state."""

    def play(inside: Inside) -> JobResult:
        assert inside.state_file is not None
        inside.state_file.write_bytes(data)
        return result

    return play


@dataclass
class Works:
    """The runner with its sandbox; `plays` may be changed between attempts."""

    gate: Gate
    home: Path
    sandbox: PlayedSandbox = field(init=False)

    def __post_init__(self) -> None:
        self.sandbox = PlayedSandbox(
            {
                "plan": lambda _: planned(PLAN_FILE),
                "check": lambda _: planned(PLAN_FILE),
                "derive": meaning,
                "apply": writes(state(1)),
                "verify": lambda _: planned(EMPTY_FILE),
            }
        )
        for name in ("box", "source", "program", "secrets"):
            (self.home / name).mkdir()
        (self.home / "source" / "main.tf").write_text("# sealed")
        (self.home / "program" / "tofu").write_text("the engine's bytes")
        self.gate.shelf = Shelf(catalog(CATALOG))
        self.gate.core.catalog = self.gate.shelf
        self.line = Line(self.gate)

    @property
    def plays(self) -> dict[str, Play]:
        return self.sandbox.plays

    def settings(self) -> RunnerSettings:
        nowhere = self.home / "unused"
        target = TargetSettings(
            drivers=("opentofu",),
            sources=("note",),
            keeps_state=True,
            credential=CredentialSettings(),
            credential_scopes=("read", "write"),
        )
        return RunnerSettings(
            id="runner-1",
            deployment="test",
            region="local",
            gateway="https://gateway.invalid",
            keys=RunnerKeys(nowhere, nowhere, nowhere, nowhere, nowhere, nowhere, nowhere),
            state_dir=self.home / "state",
            sandbox=SandboxSettings(base_dir=self.home / "box"),
            dev=True,
            sources={"note": self.home / "source"},
            targets={"note": target},
            tools={"opentofu": ToolSettings(any=True, path=self.home / "program" / "tofu")},
            providers=ProviderSettings(),
        )

    async def open(self) -> Works:
        keys, settings = self.gate.keys, self.settings()
        settings.state_dir.mkdir(mode=0o700, exist_ok=True)
        trust = Trust(keys.keyset, keys.keyset_envelope, base64.b64encode(keys.root.public))
        self.journal = Journal(settings.state_dir / "journal.jsonl")
        secret = b"r" * 32
        self.parts = Parts(
            settings=settings,
            trust=trust,
            gateway=cast(GatewayClient, self.line),
            sandbox=self.sandbox,
            capabilities=await self.sandbox.probe(),
            broker=FileBroker(self.home / "secrets", lambda: trust.keyset, os.urandom, dev=True),
            job_root=JobRoot(self.home / "box", "d" * 64, {}),
            journal=self.journal,
            signer=keys.runners["runner-1"][1],
            region_secret=secret,
            toolbox=open_toolbox(settings),
            artifacts=SealedDirectory(settings.state_dir / "plans", secret, os.urandom),
            states=StateKeeper(settings.state_dir / "states", secret, os.urandom),
            clock=boot_clock,
            random=os.urandom,
        )
        return self

    async def close(self) -> None:
        self.journal.close()

    async def ask(self) -> str:
        return (await self.gate.ask(None, "note", action="write_note", text=AGENT_TEXT, reason=AGENT_TEXT)).id

    async def work(self) -> None:
        """Take one lease and see it through, as the runner's loop does."""
        request = LeaseRequest(os.urandom(16).hex(), ("opentofu",), 0, self.journal.witness)
        answer = await self.gate.door.lease(self.gate.runner().peer, request)
        assert answer.offer is not None, "nothing was offered"
        await RunnerLoop(self.parts)._attempt(answer.offer)

    async def done(self, operation: str) -> Any:
        """Plan and apply it, and answer with what it came to."""
        await self.work()
        if (await self.gate.operation(operation)).state.value == "queued":
            await self.work()
        return await self.gate.operation(operation)

    def said(self) -> str:
        """Everything that has left the region."""
        return "".join(path + text for path, text in self.line.said)

    async def manifests(self, operation: str, stage: str) -> list[dict[str, Any]]:
        found = await self.gate.envelopes(await self.gate.operation(operation), f"manifest.{stage}")
        return [json.loads(base64.b64decode(json.loads(envelope)["payload"])) for envelope in found]


def mark(serial: int, lineage: str = "l-1") -> dict[str, Any]:
    made: dict[str, Any] = to_document(StateMark(lineage, serial))
    return made
