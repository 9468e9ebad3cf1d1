"""A gateway's real core on a real store, with real keys, policy and catalog, and runners that are only signers of protocol documents."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.grants import Key
from tests.invariants.parties import (
    INPUTS,
    REASON,
    SNAPSHOT,
    TENANT,
    Clock,
    Keys,
    Shelf,
    agent,
    catalog,
    human,
    plan_bytes,
)

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
from lockgate.contract.intent import Phase, Principal, Stage
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
from lockgate.gateway.core import Core
from lockgate.gateway.dispatch import RunnerDesk
from lockgate.gateway.doors import Call, RunnerPeer, VoteCall
from lockgate.gateway.operations.model import Attempt, Operation
from lockgate.gateway.oversight import HumanDesk
from lockgate.gateway.scheduling.rates import Rates
from lockgate.gateway.scheduling.wakeups import Wakeups
from lockgate.gateway.store.port import AuditEntries, EnvelopesOf, GetAttempt, GetLock, GetOperation
from lockgate.gateway.store.sqlite import SqliteStore
from lockgate.policy.port import PolicyEngine


@dataclass
class Gate:
    """One gateway. `open` before use, `close` after; opened again on the same path it is the gateway after a restart."""

    path: Path
    engine: PolicyEngine
    keys: Keys = field(default_factory=Keys)
    clock: Clock = field(default_factory=Clock)
    shelf: Shelf = field(default_factory=lambda: Shelf(catalog()))
    rates: tuple[float, int] = (1000.0, 1000)
    boxes: dict[str, list[str]] = field(default_factory=dict)
    """By attempt: the sandboxes its manifests named."""

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

    async def poll(
        self, poll_id: str | None = None, witness: Witness | None = None, image: str | None = None
    ) -> Lease | None:
        request = LeaseRequest(poll_id or os.urandom(16).hex(), ("runbook",), 0, witness, image)
        offer = (await self.gate.door.lease(self.peer, request)).offer
        if offer is None:
            return None
        return Lease(offer, read_grant(offer.grant.encode(), self.gate.keys.keyset))

    async def take(self, image: str | None = None) -> Lease:
        lease = await self.poll(image=image)
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
        """A signed stage; `changes` are fields of its manifest, `status` and `detail` those of its outcome, `file_sha256` its plan file's."""
        grant = lease.grant
        outcome = StageOutcome(changes.pop("status", "ok"), 0, changes.pop("detail", ""))
        document = PlanDocument(**_plan_fields(plan)) if plan is not None else None
        file_sha256 = changes.pop("file_sha256", None)
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
            plan=plan_digests(plan, document, file_sha256) if plan is not None and document is not None else None,
            outcome=outcome,
            region=grant.region,
            runner=grant.runner,
            sandbox=os.urandom(16).hex(),
            ended_ms_ago=5,
            witness=None,
        )
        signer = changes.pop("signer", self.key)
        boxes = (changes.get("sandbox", made.sandbox), changes.get("derived_in", ""))
        self.gate.boxes.setdefault(lease.attempt, []).extend(box for box in boxes if box)
        text = write_signed(replace(made, **changes), MANIFEST_TYPE, signer).decode()
        return StageReport(text, plan.decode() if plan is not None else None, output)

    async def report(self, lease: Lease, *stages: StageReport) -> str:
        return (await self.gate.door.report(self.peer, lease.attempt, Report(lease.grant.fence, stages))).state

    async def receipt(
        self,
        lease: Lease,
        *,
        gone: bool = True,
        boxes: Sequence[str] | None = None,
        credentials: Sequence[CredentialReceipt] = (),
        witness: Witness | None = None,
    ) -> str:
        """A signed receipt, of every sandbox that the attempt's manifests named unless `boxes` says otherwise."""
        grant = lease.grant
        named = boxes if boxes is not None else self.gate.boxes.get(lease.attempt) or [os.urandom(16).hex()]
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
            sandboxes=tuple(SandboxReceipt(box, Stage.PLAN, gone, {"gone": gone}, (), False) for box in named),
            credentials=tuple(credentials),
            broker="none: runner-trusted",
            witness=witness,
        )
        text = write_signed(made, RECEIPT_TYPE, self.key).decode()
        return (await self.gate.door.receipt(self.peer, lease.attempt, ReceiptNote(text))).state


def _plan_fields(data: bytes) -> dict[str, Any]:
    from lockgate.contract.plan import read_plan

    plan = read_plan(data)
    return {name: getattr(plan, name) for name in plan.__slots__}
