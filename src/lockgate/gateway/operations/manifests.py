"""Opens what runners sign and holds it against the attempt it claims to be about; it must not believe a summary it can recompute."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TypeVar

from lockgate.contract.canonical import sha256
from lockgate.contract.codec import DocumentError
from lockgate.contract.drivers import declaration
from lockgate.contract.dsse import EnvelopeError
from lockgate.contract.evidence import MANIFEST_TYPE, RECEIPT_TYPE, Manifest, Receipt
from lockgate.contract.intent import Stage
from lockgate.contract.keyset import KeyRole
from lockgate.contract.plan import Fidelity, PlanDocument, plan_digests, read_plan
from lockgate.contract.runnerapi import StageReport
from lockgate.contract.signed import envelope_sha256, read_signed_by
from lockgate.gateway.audit.entries import EntryKind
from lockgate.gateway.core import Core
from lockgate.gateway.doors import RunnerPeer
from lockgate.gateway.errors import BadInput
from lockgate.gateway.operations.model import Attempt, Operation, PlanRecord
from lockgate.gateway.store.port import AuditEntries, EnvelopeRecord, EnvelopesOf, PlanBytes

T = TypeVar("T", Manifest, Receipt)


@dataclass(frozen=True, slots=True)
class Reported:
    """One stage as reported and verified; `plan` was recomputed from the canonical bytes the runner sent."""

    manifest: Manifest
    sha256: str
    envelope: EnvelopeRecord
    plan: PlanDocument | None
    plan_bytes: bytes | None
    output: str | None

    def plan_record(self, now: int) -> PlanRecord:
        """The plan as the operation keeps it. Raises BadInput when the stage brought none."""
        if self.plan is None or self.manifest.plan is None:
            raise BadInput("A successful stage of this kind must bring its plan.", field="plan")
        digests, summary = self.manifest.plan, self.plan.summary
        return PlanRecord(
            file_sha256=digests.file_sha256,
            inputs_sha256=digests.inputs_sha256,
            semantic_sha256=digests.semantic_sha256,
            snapshot_sha256=self.manifest.snapshot_sha256,
            fidelity=self.plan.fidelity.value,
            incomplete=self.plan.incomplete,
            create=summary.create,
            update=summary.update,
            delete=summary.delete,
            replace=summary.replace,
            manifest_sha256=self.sha256,
            planned_at=now,
            operation=self.manifest.operation,
        )

    def stored_plan(self, operation: str) -> PlanBytes:
        """The canonical bytes for the store."""
        if self.plan_bytes is None:
            raise BadInput("A successful stage of this kind must bring its plan.", field="plan")
        return PlanBytes(sha256(self.plan_bytes), operation, self.plan_bytes)


def open_stage(
    core: Core, peer: RunnerPeer, attempt: Attempt, operation: Operation, report: StageReport, expected: Stage
) -> Reported:
    """Verify one reported stage. Raises BadInput naming the field."""
    envelope = report.manifest.encode()
    manifest = _open(core, peer, Manifest, envelope, MANIFEST_TYPE)
    _about(manifest, attempt, operation)
    if manifest.stage is not expected or manifest.phase is not attempt.phase:
        raise BadInput(f"is of stage {manifest.stage}, where {expected} was due", field="manifest.stage")
    if attempt.inputs_sha256 is not None and manifest.inputs_sha256 != attempt.inputs_sha256:
        raise BadInput("is not what this attempt started with", field="manifest.inputs_sha256")
    _of_target(core, manifest, operation)
    plan, data = _plan(manifest, report.plan)
    digest = envelope_sha256(envelope)
    record = EnvelopeRecord(digest, f"manifest.{manifest.stage.value}", operation.id, attempt.id, envelope)
    return Reported(manifest, digest, record, plan, data, report.output)


def open_receipt(
    core: Core, peer: RunnerPeer, attempt: Attempt, operation: Operation, text: str
) -> tuple[Receipt, EnvelopeRecord]:
    """Verify a teardown receipt. Raises BadInput naming the field."""
    envelope = text.encode()
    receipt = _open(core, peer, Receipt, envelope, RECEIPT_TYPE)
    _about(receipt, attempt, operation)
    return receipt, EnvelopeRecord(envelope_sha256(envelope), "receipt", operation.id, attempt.id, envelope)


async def left_out(core: Core, attempt: Attempt, receipt: Receipt) -> tuple[str, ...]:
    """What the attempt is known to have made and the receipt does not name: sandboxes of its manifests, credentials noted as issued; sorted."""
    made: set[str] = set()
    for record in await core.store.read(EnvelopesOf(attempt.operation)):
        if record.attempt == attempt.id and record.kind.startswith("manifest."):
            made |= {f"sandbox {sandbox}" for sandbox in _sandboxes(record)}
    since = 0
    while entries := await core.store.read(AuditEntries(since, operation=attempt.operation)):
        since = entries[-1].seq + 1
        for item in entries:
            if item.kind == EntryKind.CREDENTIAL_ISSUED.value and item.body["attempt"] == attempt.id:
                made.add(f"credential {item.body['accessor']}")
    made -= {f"sandbox {box.sandbox}" for box in receipt.sandboxes}
    return tuple(sorted(made - {f"credential {item.accessor}" for item in receipt.credentials}))


def _sandboxes(record: EnvelopeRecord) -> set[str]:
    """Of a manifest that was verified when it was stored; the key that signed it may be retired since. None, where a stage came to no sandbox."""
    said = json.loads(base64.b64decode(json.loads(record.envelope)["payload"]))
    return {str(said[name]) for name in ("sandbox", "derived_in") if said.get(name)}


def _open(core: Core, peer: RunnerPeer, kind: type[T], envelope: bytes, payload_type: str) -> T:
    try:
        document, keyid = read_signed_by(kind, envelope, payload_type, core.keyset, KeyRole.RUNNER)
        key = core.keyset.entry(keyid)
    except EnvelopeError as error:
        raise BadInput(str(error), field="envelope") from None
    if (key.holder, key.region, key.tenant) != (peer.runner, peer.region, peer.tenant):
        raise BadInput("is signed by another runner's key", field="envelope.signatures")
    if document.dev != core.keyset.dev:
        raise BadInput("carries another dev stamp than this deployment", field="dev")
    return document


def _about(document: Manifest | Receipt, attempt: Attempt, operation: Operation) -> None:
    expected = {
        "operation": operation.id,
        "attempt": attempt.id,
        "fence": attempt.fence,
        "tenant": operation.tenant,
        "grant_sha256": attempt.grant_sha256,
        "runner": attempt.runner,
        "region": attempt.region,
    }
    for field, value in expected.items():
        if getattr(document, field) != value:
            raise BadInput("is not this attempt's", field=f"{type(document).__name__.lower()}.{field}")


def _of_target(core: Core, manifest: Manifest, operation: Operation) -> None:
    """The stage ran the driver that the catalog names for the target, at the fidelity that driver is declared with."""
    target = core.catalog.current.targets.get(operation.target)
    if target is None:
        return  # no longer in the catalog: what follows is denied for that
    declared = declaration(target.spec.driver)
    if (manifest.driver, manifest.fidelity) != (declared.name, declared.fidelity):
        raise BadInput("is not the target's driver at its declared fidelity", field="manifest.driver")


def _plan(manifest: Manifest, text: str | None) -> tuple[PlanDocument | None, bytes | None]:
    if text is None or manifest.plan is None:
        if text is not None or manifest.plan is not None:
            raise BadInput("plan bytes and the manifest's plan digests must come together", field="plan")
        return None, None
    data = text.encode()
    try:
        plan = read_plan(data)
    except DocumentError as error:
        raise BadInput(str(error), field=error.field) from None
    if (plan.driver, plan.fidelity) != (manifest.driver, manifest.fidelity):
        raise BadInput("is of another driver or fidelity than the manifest states", field="plan")
    if plan.fidelity is Fidelity.EXACT and manifest.derived_in in ("", manifest.sandbox):
        raise BadInput("what a plan file means must be derived in a sandbox of its own", field="manifest.derived_in")
    # Of exact fidelity nobody but the region has the plan file: its digest is the runner's signed word, and binds the runner at apply.
    file_sha256 = manifest.plan.file_sha256 if plan.fidelity is Fidelity.EXACT else None
    if plan.inputs_sha256 != manifest.inputs_sha256 or plan_digests(data, plan, file_sha256) != manifest.plan:
        raise BadInput("the plan bytes do not have the digests the manifest states", field="manifest.plan")
    return plan, data
