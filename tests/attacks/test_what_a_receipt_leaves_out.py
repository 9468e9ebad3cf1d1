"""A receipt that does not name all that the attempt made proves nothing; a runner that comes back names all of it, and ends what it can."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.invariants.exact import Works
from tests.invariants.gate import Gate
from tests.invariants.parties import EMPTY
from tests.invariants.region import Region

from lockgate.contract.evidence import CredentialReceipt
from lockgate.contract.intent import Stage
from lockgate.contract.runnerapi import CredentialNote
from lockgate.gateway.store.port import AuditEntries
from lockgate.runner.acceptance import Accepted
from lockgate.runner.credentials.port import CredentialRequest
from lockgate.runner.journal import Journal
from lockgate.runner.parts import Parts
from lockgate.runner.recovery import recover
from lockgate.runner.sandbox.port import TeardownProof
from lockgate.runner.statements import Evidence, sign_receipt

KEY = CredentialReceipt("key-1", "write", True)


async def alarms(gate: Gate) -> list[list[str]]:
    entries = await gate.store.read(AuditEntries())
    return [entry.body["left_out"] for entry in entries if entry.kind == "alarm"]


@pytest.mark.parametrize("left_out", ["sandbox", "credential"])
async def test_what_it_leaves_out_is_not_proven_gone(gate: Gate, left_out: str) -> None:
    operation, lease = await gate.applied()
    runner = gate.runner()
    note = CredentialNote(lease.grant.fence, "issued", "write", "key-1", 60)
    await gate.door.credential(runner.peer, lease.attempt, note)
    await runner.report(lease, runner.stage(lease, Stage.APPLY), runner.stage(lease, Stage.VERIFY, plan=EMPTY))
    checked, *others = gate.boxes[lease.attempt]
    assert len(others) == 2
    if left_out == "sandbox":
        await runner.receipt(lease, boxes=others, credentials=[KEY])
        assert await alarms(gate) == [[f"sandbox {checked}"]]
    else:
        await runner.receipt(lease)
        assert await alarms(gate) == [["credential key-1"]]
    assert await gate.lock_state("web-dev") == "quarantined"
    assert (await gate.attempt(lease.attempt)).state.value == "unproven"
    await runner.receipt(lease, credentials=[replace(KEY, accessor="key-2")])
    assert await gate.lock_state("web-dev") == "quarantined"
    await runner.receipt(lease, credentials=[KEY])
    assert await gate.lock_state("web-dev") == "free"
    assert (await gate.operation(operation)).state.value == "succeeded"


async def test_a_sandbox_that_derived_a_plans_meaning_is_not_left_out(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is another than its stage's, and held the plan file in clear."""

    def forgetful(parts: Parts, accepted: Accepted, evidence: Evidence) -> str:
        evidence.sandboxes[:] = [box for box in evidence.sandboxes if box.stage is not Stage.DERIVE]
        return sign_receipt(parts, accepted, evidence)

    operation = await works.ask()
    await works.work()
    monkeypatch.setattr("lockgate.runner.run.sign_receipt", forgetful)
    await works.work()
    ended = await works.gate.operation(operation)
    assert (ended.state.value, await works.gate.lock_state(ended.lock)) == ("succeeded", "quarantined")
    (missing,) = await alarms(works.gate)
    derived = [inside.spec.id for inside in works.sandbox.ran if inside.stage == "derive"]
    assert missing == sorted(f"sandbox {box}" for box in derived[1:])


async def test_a_runner_that_comes_back_names_also_what_was_gone_before(gate: Gate, region: Region) -> None:
    _, lease = await gate.applied()
    note = CredentialNote(lease.grant.fence, "issued", "write", "key-1", 60)
    await gate.door.credential(gate.runner().peer, lease.attempt, note)
    (checked,) = gate.boxes[lease.attempt]
    journal = region.journal
    journal.first_sight(lease.attempt, lease.offer.grant)
    journal.sandbox_started(lease.attempt, checked)
    journal.sandbox_gone(checked)
    journal.credential_intended(lease.attempt, "write")
    journal.credential_issued(lease.attempt, "key-1", "write")
    journal.credential_revoked("key-1")
    journal.close()
    region.journal = Journal(region.settings().state_dir / "journal.jsonl")
    assert await recover(replace(region.parts, journal=region.journal)) == 1
    assert await gate.lock_state("web-dev") == "free"
    assert await alarms(gate) == []
    assert region.journal.open_attempts == ()


@pytest.mark.parametrize("gone", [True, False])
async def test_a_credential_that_was_asked_for_and_not_heard_of_is_ended_by_its_broker_or_not_proven(
    gate: Gate, region: Region, monkeypatch: pytest.MonkeyPatch, gone: bool
) -> None:
    """The runner died between asking and hearing; only the broker can know that nothing of it is left."""
    _, lease = await gate.applied()
    (checked,) = gate.boxes[lease.attempt]
    region.journal.first_sight(lease.attempt, lease.offer.grant)
    region.journal.sandbox_started(lease.attempt, checked)
    region.journal.credential_intended(lease.attempt, "write")
    asked = []

    async def unheard(attempt: str, scope: str) -> bool:
        asked.append((attempt, scope))
        return gone

    monkeypatch.setattr(region.parts.broker, "revoke_unheard", unheard)
    assert await recover(region.parts) == 1
    assert asked == [(lease.attempt, "write")]
    assert await gate.lock_state("web-dev") == ("free" if gone else "quarantined")


@pytest.mark.parametrize("gone", [True, False])
async def test_what_nobody_vouches_for_any_more_is_ended_all_the_same(
    region: Region, monkeypatch: pytest.MonkeyPatch, gone: bool
) -> None:
    """A grant that no longer verifies is no reason to leave a sandbox or a credential behind."""
    journal, broker = region.journal, region.parts.broker
    request = CredentialRequest(
        "read", "web-dev", "at_1", 1, "sha256:x", {"viewer": "secret://web/viewer"}, ("secret://web/",), 60,
        read_is_read_only=True,
    )  # fmt: skip
    credential = await broker.issue(request)
    journal.first_sight("at_1", "signed by a key that is retired")
    journal.sandbox_started("at_1", "ab" * 16)
    journal.credential_issued("at_1", credential.accessor, "read")
    destroy, destroyed = region.sandbox.destroy, []

    async def noted(sandbox_id: str) -> TeardownProof:
        destroyed.append(sandbox_id)
        return replace(await destroy(sandbox_id), torn_down=gone)

    monkeypatch.setattr(region.sandbox, "destroy", noted)
    assert await recover(region.parts) == 0
    assert destroyed == ["ab" * 16]
    assert broker._live == set()  # type: ignore[attr-defined]
    assert [item.attempt for item in journal.open_attempts] == ([] if gone else ["at_1"])
