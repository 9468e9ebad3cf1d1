"""Invariant 8: write credentials exist only between start and the end of apply; none is logged, stored in the gateway, or seen by an agent."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.invariants.gate import Gate, Lease
from tests.invariants.parties import human
from tests.invariants.region import Region

from lockgate.contract.grant import PERMIT_TYPE
from lockgate.contract.intent import Phase
from lockgate.contract.runnerapi import CredentialNote
from lockgate.contract.signed import envelope_sha256, write_signed
from lockgate.gateway.errors import Clash
from lockgate.gateway.store.port import AuditEntries
from lockgate.runner.credentials.file import FileBroker
from lockgate.runner.credentials.port import BrokerRefused, CredentialRequest, PermitShown

TOKEN = "write-token-4711-xyz"
Ask = Callable[..., CredentialRequest]


@pytest.fixture
def broker(gate: Gate, tmp_path: Path) -> FileBroker:
    """The real file broker with one secret."""
    folder = tmp_path / "secrets"
    (folder / "web").mkdir(mode=0o700, parents=True)
    path = folder / "web" / "token"
    path.touch(mode=0o600)
    path.write_text(TOKEN + "\n")
    return FileBroker(folder, lambda: gate.keys.keyset, os.urandom, dev=True)


def asked(lease: Lease, permit: str | None, age_ms: int = 5) -> CredentialRequest:
    """A request for the write credential of the lease's attempt, with this permit."""
    return CredentialRequest(
        scope="write",
        target="web-dev",
        attempt=lease.attempt,
        fence=lease.grant.fence,
        grant_sha256=envelope_sha256(lease.offer.grant.encode()),
        references={"token": "secret://web/token"},
        prefixes=("secret://web/",),
        ttl=60,
        permit=PermitShown(permit.encode(), age_ms) if permit is not None else None,
    )


async def test_without_a_permit_there_is_no_write_credential(gate: Gate, broker: FileBroker) -> None:
    _, lease = await gate.applying()
    with pytest.raises(BrokerRefused, match="permit"):
        await broker.issue(asked(lease, None))


async def test_only_this_attempts_own_permit_opens_it_and_once(gate: Gate, broker: FileBroker) -> None:
    _, lease = await gate.applying()
    permit = (await gate.runner().start_apply(lease)).permit
    assert permit is not None
    with pytest.raises(BrokerRefused, match="expired"):
        await broker.issue(asked(lease, permit, age_ms=60_000))
    credential = await broker.issue(asked(lease, permit))
    assert credential.files == {"token": TOKEN.encode() + b"\n"}
    assert TOKEN not in repr(credential)
    with pytest.raises(BrokerRefused, match="used already"):
        await broker.issue(asked(lease, permit))


@pytest.mark.parametrize("field", ["attempt", "fence", "grant_sha256"])
async def test_another_attempts_permit_opens_nothing(gate: Gate, broker: FileBroker, field: str) -> None:
    _, lease = await gate.applying()
    permit = (await gate.runner().start_apply(lease)).permit
    other: Any = {"attempt": "at_other", "fence": 99, "grant_sha256": "sha256:" + "0" * 64}[field]
    with pytest.raises(BrokerRefused, match=rf"permit\.{field}"):
        await broker.issue(replace(asked(lease, permit), **{field: other}))


async def test_the_permit_of_a_plan_opens_nothing(gate: Gate, broker: FileBroker) -> None:
    await gate.ask()
    lease = await gate.runner().take()
    permit = (await gate.runner().start(lease)).permit
    with pytest.raises(BrokerRefused, match=r"permit\.phase"):
        await broker.issue(asked(lease, permit))


async def test_a_permit_the_gateway_did_not_sign_opens_nothing(gate: Gate, broker: FileBroker) -> None:
    _, lease = await gate.applying()
    runner = gate.runner()
    permit = runner.permit(await runner.start_apply(lease))
    for signer in (runner.key, gate.keys.log, gate.keys.root):
        forged = write_signed(permit, PERMIT_TYPE, signer).decode()
        with pytest.raises(BrokerRefused, match="permit"):
            await broker.issue(asked(lease, forged))


async def test_the_gateway_refuses_word_of_a_write_credential_before_start(gate: Gate) -> None:
    _, lease = await gate.applying()
    peer = gate.runner().peer
    for event in ("intended", "issued"):
        with pytest.raises(Clash, match="between start and the end of apply"):
            await gate.door.credential(
                peer, lease.attempt, CredentialNote(lease.grant.fence, event, "write", None, None)
            )


async def test_no_grant_but_that_of_apply_carries_the_write_scope(gate: Gate) -> None:
    await gate.ask(action="service_status")
    read = await gate.runner().take()
    assert (read.grant.phase, read.grant.credential_scope) == (Phase.READ, "read")
    await gate.ask()
    plan = await gate.runner().take()
    assert (plan.grant.phase, plan.grant.credential_scope) == (Phase.PLAN, "read")
    _, apply = await gate.applying("web-prod")
    assert apply.grant.credential_scope == "write"


async def test_only_the_apply_sandbox_holds_the_write_credential(gate: Gate, region: Region) -> None:
    """The tool itself says which credentials lie before it, in every stage, in real sandboxes."""
    half = (region.source / "tool").read_text().replace('echo "$2" > "$state"', 'echo 1 > "$state"')
    region.write_source("tool", half)
    operation = await gate.ask()
    await region.work()
    await region.work()
    assert (region.target / "seen").read_text().split() == ["token"]
    for stage in ("plan", "check", "verify"):
        (said,) = region.reports(stage)
        assert '"seen":"viewer "' in said, f"{stage}: {said}"
    ended = await gate.operation(operation)
    assert (ended.state.value, ended.effect_shown) == ("failed", "partial"), ended.message


async def test_the_write_credential_lives_from_start_to_the_end_of_apply(gate: Gate, region: Region) -> None:
    operation = await gate.ask()
    await region.work()
    await region.work()
    assert (await gate.operation(operation)).state.value == "succeeded"
    entries = await gate.store.read(AuditEntries(operation=operation.id))
    life = [
        (entry.kind, entry.body.get("scope"))
        for entry in entries
        if entry.kind in {"start.committed", "operation.moved"} or entry.kind.startswith("credential.")
    ]
    write = [kind for kind, scope in life if scope in (None, "write")]
    assert write[-5:] == [
        "start.committed",
        "credential.intended",
        "credential.issued",
        "credential.revoked",
        "operation.moved",
    ]
    assert region.journal.live_credentials == ()


async def test_a_refused_start_leaves_no_write_credential(gate: Gate, region: Region) -> None:
    """The caller is revoked while the runner is about to check."""
    operation = await gate.ask()
    await region.work()

    async def revoked() -> None:
        await gate.desk.revoke(human("root", "admin"), "token", operation.principal.token_id, "lost")

    region.line.on_answer["credential"] = revoked
    await region.work()
    assert (await gate.operation(operation)).state.value == "denied"
    assert [text for path, text in region.line.said if path.endswith("/credential") and '"write"' in text] == []
    assert region.state() is None


async def test_the_credential_is_in_no_store_log_or_answer(
    gate: Gate, region: Region, capfd: pytest.CaptureFixture[str]
) -> None:
    operation = await gate.ask()
    await region.work()
    await region.work()
    assert (await gate.operation(operation)).state.value == "succeeded"
    details = await gate.desk.show(human("root", "admin"), operation.id)
    out, err = capfd.readouterr()
    journal = (region.home / "state" / "journal.jsonl").read_text()
    said = "".join(text for _, text in region.line.said)
    for place in (repr(details), out, err, journal, said, repr(region.parts.broker)):
        assert TOKEN not in place
    for path in gate.path.parent.iterdir():
        assert TOKEN.encode() not in path.read_bytes()
