"""What the runner signs about an attempt: manifests of stages, the receipt of teardown. It must not sign what it did not see or check."""

from __future__ import annotations

from dataclasses import dataclass, field

from lockgate.contract.evidence import (
    MANIFEST_TYPE,
    RECEIPT_TYPE,
    CredentialReceipt,
    EnclosureReceipt,
    Manifest,
    Receipt,
    SandboxReceipt,
    StageOutcome,
    ToolIdentity,
)
from lockgate.contract.grant import Grant
from lockgate.contract.intent import Stage
from lockgate.contract.plan import Fidelity, PlanDigests
from lockgate.contract.signed import write_signed
from lockgate.contract.state import StateMark
from lockgate.runner.acceptance import Accepted
from lockgate.runner.inputs import Inputs
from lockgate.runner.parts import Parts


@dataclass(slots=True)
class Evidence:
    """What an attempt has made and must prove gone; it only grows."""

    sandboxes: list[SandboxReceipt] = field(default_factory=list)
    credentials: list[CredentialReceipt] = field(default_factory=list)
    enclosures: list[EnclosureReceipt] = field(default_factory=list)

    @property
    def proven(self) -> bool:
        """Whether a receipt of this proves the end of everything: what `Receipt.proven` says of it."""
        return self.torn_down and all(item.revoked for item in self.credentials)

    @property
    def torn_down(self) -> bool:
        """Whether every sandbox and enclosure was seen gone."""
        return all(box.torn_down for box in self.sandboxes) and all(item.torn_down for item in self.enclosures)


@dataclass(frozen=True, slots=True)
class StageFacts:
    """What a manifest says of one stage."""

    stage: Stage
    sandbox: str
    derived_in: str
    outcome: StageOutcome
    plan: PlanDigests | None
    fidelity: Fidelity
    state_before: StateMark | None
    state_after: StateMark | None
    ended_at: int


def sign_manifest(parts: Parts, accepted: Accepted, inputs: Inputs, facts: StageFacts) -> str:
    """The envelope text of one stage's manifest."""
    grant, document = accepted.grant, inputs.document
    manifest = Manifest(
        version=1,
        deployment=grant.deployment,
        dev=parts.settings.dev,
        tenant=grant.tenant,
        operation=grant.operation,
        attempt=grant.attempt,
        fence=grant.fence,
        phase=grant.phase,
        stage=facts.stage,
        grant_sha256=accepted.grant_sha256,
        inputs_sha256=inputs.sha256,
        snapshot_sha256=document.snapshot_sha256,
        job_sha256=document.job_sha256,
        driver=document.driver,
        fidelity=facts.fidelity,
        tool=ToolIdentity(document.tool_name, document.tool_version, document.tool_sha256),
        plan=facts.plan,
        outcome=facts.outcome,
        region=grant.region,
        runner=grant.runner,
        sandbox=facts.sandbox,
        ended_ms_ago=max(0, parts.clock() - facts.ended_at),
        witness=parts.witness,
        derived_in=facts.derived_in,
        providers=dict(document.providers),
        state_before=facts.state_before,
        state_after=facts.state_after,
    )
    return write_signed(manifest, MANIFEST_TYPE, parts.signer).decode()


def sign_receipt(parts: Parts, accepted: Accepted, evidence: Evidence) -> str:
    """The envelope text of an attempt's teardown receipt."""
    return sign_receipt_for(parts, accepted.grant, accepted.grant_sha256, evidence)


def sign_receipt_for(parts: Parts, grant: Grant, grant_sha256: str, evidence: Evidence) -> str:
    """The same for an attempt known by its grant alone, as after a restart."""
    box = parts.settings.sandbox
    receipt = Receipt(
        version=1,
        deployment=grant.deployment,
        dev=parts.settings.dev,
        tenant=grant.tenant,
        operation=grant.operation,
        attempt=grant.attempt,
        fence=grant.fence,
        grant_sha256=grant_sha256,
        region=grant.region,
        runner=grant.runner,
        sandbox_class=box.class_for(grant.sandbox) or box.sandbox_class,
        isolated=parts.capabilities.isolated,
        sandboxes=tuple(evidence.sandboxes),
        credentials=tuple(evidence.credentials),
        enclosures=tuple(evidence.enclosures),
        broker=f"{parts.broker.name}: {parts.broker.trust}",
        witness=parts.witness,
    )
    return write_signed(receipt, RECEIPT_TYPE, parts.signer).decode()
