"""A gateway's real core on a real store, with real keys, policy and catalog, and runners that are only signers of protocol documents."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lockgate.contract.canonical import canonical
from lockgate.contract.codec import to_document
from lockgate.contract.drivers import declarations
from lockgate.contract.evidence import (
    MANIFEST_TYPE,
    RECEIPT_TYPE,
    CredentialReceipt,
    Manifest,
    Receipt,
    SandboxReceipt,
    StageOutcome,
    ToolIdentity,
    Witness,
)
from lockgate.contract.grant import Grant, Permit, read_grant, read_permit
from lockgate.contract.intent import Phase, Principal, PrincipalKind, Stage
from lockgate.contract.keyset import PAYLOAD_TYPE, KeyEntry, KeyRole, Keyset, keyid_of
from lockgate.contract.plan import Fidelity, PlanDocument, plan_digests
from lockgate.contract.runnerapi import (
    LeaseOffer,
    LeaseRequest,
    ReceiptNote,
    Report,
    StageReport,
    StartAnswer,
    StartRequest,
)
from lockgate.contract.signed import envelope_sha256, write_signed
from lockgate.gateway.catalog.load import load_texts
from lockgate.gateway.catalog.model import Catalog
from lockgate.gateway.core import Core
from lockgate.gateway.dispatch import RunnerDesk
from lockgate.gateway.doors import Call, RunnerPeer, VoteCall
from lockgate.gateway.operations.model import Attempt, Operation
from lockgate.gateway.oversight import HumanDesk
from lockgate.gateway.scheduling.rates import Rates
from lockgate.gateway.scheduling.wakeups import Wakeups
from lockgate.gateway.store.port import AuditEntries, EnvelopesOf, GetAttempt, GetLock, GetOperation
from lockgate.gateway.store.sqlite import SqliteStore
from lockgate.job.drivers.port import resource_change
from lockgate.policy.port import PolicyEngine

NOW = 1_800_000_000_000
ISSUER = "https://idp.example"
INPUTS = "sha256:" + "1" * 64
OTHER_INPUTS = "sha256:" + "2" * 64
SNAPSHOT = "sha256:" + "3" * 64
REASON = "scale for the launch"
TENANT = "default"

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
    required: [replicas]
    properties: {replicas: {type: integer, minimum: 0, maximum: 20}}
  variables: {replicas: replicas}
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
"""


class Key:
    """An Ed25519 key as an EnvelopeSigner."""

    def __init__(self) -> None:
        self._private = Ed25519PrivateKey.generate()
        self.public = self._private.public_key().public_bytes_raw()
        self.keyid = keyid_of(self.public)

    def sign(self, message: bytes) -> bytes:
        return self._private.sign(message)

    def entry(self, role: KeyRole, holder: str | None = None, region: str | None = None) -> KeyEntry:
        tenant = TENANT if holder else None
        return KeyEntry(self.keyid, role, base64.b64encode(self.public).decode(), holder, region, tenant)


@dataclass
class Clock:
    """The gateway's clock: Unix ms, moved by the test."""

    now: int = NOW

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += int(seconds * 1000)


@dataclass
class Keys:
    """A deployment's keys, with runners `runner-1` and `runner-2` of region `local` and `far-1` of region `far`."""

    root: Key = field(default_factory=Key)
    grant: Key = field(default_factory=Key)
    log: Key = field(default_factory=Key)
    runners: dict[str, tuple[str, Key]] = field(
        default_factory=lambda: {"runner-1": ("local", Key()), "runner-2": ("local", Key()), "far-1": ("far", Key())}
    )

    @property
    def keyset(self) -> Keyset:
        entries = [self.grant.entry(KeyRole.GRANT), self.log.entry(KeyRole.LOG)]
        entries += [key.entry(KeyRole.RUNNER, name, region) for name, (region, key) in self.runners.items()]
        return Keyset(1, "test", True, 0, 1 << 52, tuple(entries))

    @property
    def keyset_envelope(self) -> bytes:
        return write_signed(self.keyset, PAYLOAD_TYPE, self.root)


@dataclass
class Shelf:
    """A catalog that a test may replace."""

    current: Catalog


def catalog(text: str = CATALOG) -> Catalog:
    return load_texts({"all.yaml": text.encode()}, declarations())


def agent(
    subject: str = "bot",
    *,
    on_behalf_of: str | None = ISSUER + "#alice",
    owner: str | None = None,
    roles: tuple[str, ...] = ("operator",),
    token: str | None = None,
) -> Principal:
    """An agent, on behalf of alice unless said otherwise."""
    return Principal(
        kind=PrincipalKind.AGENT,
        issuer=ISSUER,
        subject=subject,
        tenant=TENANT,
        owner=owner,
        on_behalf_of=on_behalf_of,
        roles=roles,
        audience="https://gateway.example/mcp",
        token_id=token or f"token-of-{subject}",
        auth_time=None,
        expires_at=NOW // 1000 + 1_000_000,
    )


def human(subject: str, *roles: str, issuer: str = ISSUER, tenant: str = TENANT) -> Principal:
    """A human who has just signed in; an approver unless other roles are named."""
    return Principal(
        kind=PrincipalKind.HUMAN,
        issuer=issuer,
        subject=subject,
        tenant=tenant,
        owner=None,
        on_behalf_of=None,
        roles=roles or ("approver",),
        audience="https://gateway.example/api",
        token_id=f"token-of-{subject}",
        auth_time=NOW // 1000 - 60,
        expires_at=NOW // 1000 + 1_000_000,
    )


@dataclass
class Gate:
    """One gateway. `open` before use, `close` after; opened again on the same path it is the gateway after a restart."""

    path: Path
    engine: PolicyEngine
    keys: Keys = field(default_factory=Keys)
    clock: Clock = field(default_factory=Clock)
    shelf: Shelf = field(default_factory=lambda: Shelf(catalog()))
    rates: tuple[float, int] = (1000.0, 1000)

    async def open(self) -> Gate:
        self.store = SqliteStore(self.path)
        await self.store.migrate()
        self.core = Core(
            store=self.store,
            policy=self.engine,
            catalog=self.shelf,
            keyset=self.keys.keyset,
            grant_signer=self.keys.grant,
            log_signer=self.keys.log,
            clock=self.clock,
            random=os.urandom,
            dev=True,
        )
        await self.core.refresh()
        wakeups = Wakeups()
        self.desk = HumanDesk(self.core, wakeups, Rates(*self.rates, self.clock))
        self.door = RunnerDesk(self.core, wakeups)
        return self

    async def close(self) -> None:
        await self.store.close()

    async def ask(self, who: Principal | None = None, target: str = "web-dev", **arguments: Any) -> Operation:
        """One call; of the action `set_replicas` unless `action` says otherwise."""
        action = arguments.pop("action", "set_replicas")
        if action == "set_replicas":
            arguments = {"replicas": 3, "reason": REASON, **arguments}
        return await self.desk.call(who or agent(), Call(action, {"target": target, **arguments}, 100))

    async def operation(self, operation: Operation | str) -> Operation:
        name = operation if isinstance(operation, str) else operation.id
        found = await self.store.read(GetOperation(name))
        assert found is not None
        return found

    async def attempt(self, name: str) -> Attempt:
        found = await self.store.read(GetAttempt(name))
        assert found is not None
        return found

    async def lock_state(self, name: str) -> str:
        return (await self.store.read(GetLock(name))).state.value

    async def kinds(self, operation: Operation) -> list[str]:
        """The kinds of an operation's audit entries, in order."""
        return [entry.kind for entry in await self.store.read(AuditEntries(operation=operation.id))]

    async def envelopes(self, operation: Operation, kind: str) -> list[bytes]:
        found = await self.store.read(EnvelopesOf(operation.id))
        return [record.envelope for record in found if record.kind == kind]

    def runner(self, name: str = "runner-1") -> Runner:
        return Runner(self, name)

    async def planned(self, operation: Operation, plan: bytes | None = None) -> Operation:
        """The operation after a complete plan attempt of runner-1."""
        runner = self.runner()
        lease = await runner.take()
        assert lease.grant.operation == operation.id
        await runner.start(lease)
        await runner.report(lease, runner.stage(lease, Stage.PLAN, plan=plan or plan_bytes()))
        await runner.receipt(lease)
        return await self.operation(operation)

    async def pending(self, who: Principal | None = None, plan: bytes | None = None, **arguments: Any) -> Operation:
        """An operation that waits for approval."""
        operation = await self.planned(await self.ask(who, "web-prod", **arguments), plan)
        assert operation.state.value == "pending_approval"
        return operation

    async def vote(self, operation: Operation, voter: Principal, verdict: str = "approve") -> Operation:
        """A vote on the operation's plan as it is now."""
        plan = (await self.operation(operation)).plan
        assert plan is not None
        call = VoteCall(operation.id, verdict, plan.semantic_sha256, plan.inputs_sha256, "")
        return await self.desk.vote(voter, call)

    async def applying(self, target: str = "web-dev", **arguments: Any) -> tuple[Operation, Lease]:
        """An operation leased for apply to runner-1, not yet started."""
        operation = await self.planned(await self.ask(None, target, **arguments))
        if operation.state.value == "pending_approval":
            operation = await self.vote(operation, human("carol"))
        lease = await self.runner().take()
        assert (lease.grant.operation, lease.grant.phase) == (operation.id, Phase.APPLY)
        return await self.operation(operation), lease

    async def applied(self, target: str = "web-dev", **arguments: Any) -> tuple[Operation, Lease]:
        """An operation whose apply has been started by runner-1."""
        operation, lease = await self.applying(target, **arguments)
        answer = await self.runner().start_apply(lease)
        assert answer.permit is not None
        return await self.operation(operation), lease


@dataclass(frozen=True)
class Lease:
    """What a runner was handed."""

    offer: LeaseOffer
    grant: Grant

    @property
    def attempt(self) -> str:
        return self.grant.attempt


@dataclass
class Runner:
    """The gateway's view of a runner: a certificate's identity and a key that signs what the protocol asks for."""

    gate: Gate
    name: str

    @property
    def peer(self) -> RunnerPeer:
        return RunnerPeer("test", TENANT, self.gate.keys.runners[self.name][0], self.name)

    @property
    def key(self) -> Key:
        return self.gate.keys.runners[self.name][1]

    async def poll(self, poll_id: str | None = None, witness: Witness | None = None) -> Lease | None:
        request = LeaseRequest(poll_id or os.urandom(16).hex(), ("runbook",), 0, witness)
        offer = (await self.gate.door.lease(self.peer, request)).offer
        if offer is None:
            return None
        return Lease(offer, read_grant(offer.grant.encode(), self.gate.keys.keyset))

    async def take(self) -> Lease:
        lease = await self.poll()
        assert lease is not None, "nothing was offered"
        return lease

    async def start(self, lease: Lease, inputs: str = INPUTS, check: StageReport | None = None) -> StartAnswer:
        manifest, plan = (check.manifest, check.plan) if check else (None, None)
        request = StartRequest(lease.grant.fence, inputs, manifest, plan)
        return await self.gate.door.start(self.peer, lease.attempt, request)

    async def start_apply(self, lease: Lease, plan: bytes | None = None, **changes: Any) -> StartAnswer:
        """Start with a check whose plan is the approved one unless said otherwise."""
        return await self.start(lease, check=self.stage(lease, Stage.CHECK, plan=plan or plan_bytes(), **changes))

    def permit(self, answer: StartAnswer) -> Permit:
        assert answer.permit is not None
        return read_permit(answer.permit.encode(), self.gate.keys.keyset)

    def stage(
        self, lease: Lease, stage: Stage, *, plan: bytes | None = None, output: str | None = None, **changes: Any
    ) -> StageReport:
        """A signed stage; `changes` are fields of its manifest, `status` and `detail` those of its outcome."""
        grant = lease.grant
        outcome = StageOutcome(changes.pop("status", "ok"), 0, changes.pop("detail", ""))
        document = PlanDocument(**_plan_fields(plan)) if plan is not None else None
        made = Manifest(
            version=1,
            deployment=grant.deployment,
            dev=grant.dev,
            tenant=grant.tenant,
            operation=grant.operation,
            attempt=grant.attempt,
            fence=grant.fence,
            phase=grant.phase,
            stage=stage,
            grant_sha256=envelope_sha256(lease.offer.grant.encode()),
            inputs_sha256=document.inputs_sha256 if document else INPUTS,
            snapshot_sha256=SNAPSHOT,
            job_sha256=SNAPSHOT,
            driver="runbook",
            fidelity=Fidelity.PREDICTED,
            tool=ToolIdentity("source", "1", SNAPSHOT),
            plan=plan_digests(plan, document) if plan is not None and document is not None else None,
            outcome=outcome,
            region=grant.region,
            runner=grant.runner,
            sandbox=os.urandom(16).hex(),
            ended_ms_ago=5,
            witness=None,
        )
        signer = changes.pop("signer", self.key)
        text = write_signed(replace(made, **changes), MANIFEST_TYPE, signer).decode()
        return StageReport(text, plan.decode() if plan is not None else None, output)

    async def report(self, lease: Lease, *stages: StageReport) -> str:
        return (await self.gate.door.report(self.peer, lease.attempt, Report(lease.grant.fence, stages))).state

    async def receipt(
        self,
        lease: Lease,
        *,
        gone: bool = True,
        credentials: Sequence[CredentialReceipt] = (),
        witness: Witness | None = None,
    ) -> str:
        grant = lease.grant
        box = SandboxReceipt(os.urandom(16).hex(), Stage.PLAN, gone, {"processes": gone}, (), False)
        made = Receipt(
            version=1,
            deployment=grant.deployment,
            dev=grant.dev,
            tenant=grant.tenant,
            operation=grant.operation,
            attempt=grant.attempt,
            fence=grant.fence,
            grant_sha256=envelope_sha256(lease.offer.grant.encode()),
            region=grant.region,
            runner=grant.runner,
            sandbox_class="bubblewrap",
            isolated=True,
            sandboxes=(box,),
            credentials=tuple(credentials),
            broker="none: runner-trusted",
            witness=witness,
        )
        text = write_signed(made, RECEIPT_TYPE, self.key).decode()
        return (await self.gate.door.receipt(self.peer, lease.attempt, ReceiptNote(text))).state


def plan_bytes(*actions: str, inputs: str = INPUTS, incomplete: Sequence[str] = (), value: int = 3) -> bytes:
    """A canonical plan of one change for each of `actions` (default: one update); `plan_bytes("no-op")` changes nothing."""
    changes = tuple(
        resource_change(f"service.web{n}", "service_replicas", f"web{n}", "lockgate/runbook", _change(action, value))
        for n, action in enumerate(actions or ("update",))
    )
    document = PlanDocument(1, "runbook", Fidelity.PREDICTED, inputs, changes, tuple(incomplete), (), ())
    return canonical(to_document(document))


def _change(action: str, value: int) -> dict[str, Any]:
    return {"actions": [action], "before": {"replicas": 1}, "after": {"replicas": value}}


def _plan_fields(data: bytes) -> dict[str, Any]:
    from lockgate.contract.plan import read_plan

    plan = read_plan(data)
    return {name: getattr(plan, name) for name in plan.__slots__}


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


EMPTY = plan_bytes("no-op")
