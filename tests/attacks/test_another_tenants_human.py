"""An administrator of one tenant at the administrative calls: nothing of another tenant is shown, stopped or revoked; the operator's tenant may."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.invariants.gate import Gate
from tests.invariants.parties import CATALOG, agent, catalog, human

from lockgate.gateway.errors import Forbidden, NotFound
from lockgate.gateway.store.port import AuditEntries, Freezes, Revocations

MALLORY = human("mallory", "admin", tenant="other")
ROOT = human("root", "admin")
THEIRS = """
---
apiVersion: lockgate/v1
kind: Target
metadata: {name: web-other, labels: {tier: web}}
spec: {tenant: other, driver: runbook, source: service, environment: dev, region: local, settings: {state_dir: /target}}
"""


@pytest.fixture(autouse=True)
def two_tenants(gate: Gate) -> None:
    gate.shelf.current = catalog(CATALOG + THEIRS)


async def test_locks_of_other_tenants_are_not_shown(gate: Gate) -> None:
    await gate.applied()
    assert [lock.name for lock in await gate.desk.locks(ROOT)] == ["web-dev"]
    assert await gate.desk.locks(MALLORY) == ()


async def test_the_log_of_other_tenants_is_not_read(gate: Gate) -> None:
    operation = await gate.ask()
    theirs = await gate.ask(replace(agent("their-bot"), tenant="other"), "web-other")
    read = await gate.desk.audit(MALLORY, 0, 500, None)
    assert {entry["operation"] for entry in read} == {theirs.id}
    size = len(await gate.store.read(AuditEntries()))
    with pytest.raises(NotFound):
        await gate.desk.audit(MALLORY, 0, 500, operation.id)
    written = (await gate.store.read(AuditEntries()))[size:]
    assert [(entry.kind, entry.operation) for entry in written] == [("decision.made", None)], (
        "the look is decided on, and no word of it is written to another tenant's operation"
    )
    assert await gate.desk.audit(MALLORY, 0, 500, theirs.id)
    assert operation.id in {entry["operation"] for entry in await gate.desk.audit(ROOT, 0, 500, None)}


@pytest.mark.parametrize("scope", ["*", "tenant:default", "target:web-dev", "target:unknown", "tenant:"])
async def test_others_are_not_frozen_nor_thawed(gate: Gate, scope: str) -> None:
    with pytest.raises(Forbidden, match="tenant:other"):
        await gate.desk.freeze(MALLORY, scope, True, "stop them")
    assert await gate.store.read(Freezes()) == ()
    await gate.desk.freeze(ROOT, scope, True, "an incident")
    with pytest.raises(Forbidden, match="tenant:other"):
        await gate.desk.freeze(MALLORY, scope, False, "go on")
    assert await gate.store.read(Freezes()) == (scope,)


async def test_ones_own_are(gate: Gate) -> None:
    for scope in ("tenant:other", "target:web-other"):
        await gate.desk.freeze(MALLORY, scope, True, "an incident")
    assert await gate.store.read(Freezes()) == ("target:web-other", "tenant:other")


async def test_only_who_asked_in_ones_own_tenant_is_revoked(gate: Gate) -> None:
    await gate.ask()
    bot = replace(agent("their-bot"), tenant="other")
    await gate.ask(bot, "web-other")
    for kind, subject in (("principal", agent().id), ("principal", ROOT.id), ("token", agent().token_id)):
        with pytest.raises(Forbidden, match="revoke"):
            await gate.desk.revoke(MALLORY, kind, subject, "away with them")
    assert await gate.store.read(Revocations()) == ()
    await gate.desk.revoke(MALLORY, "principal", bot.id, "it misbehaves")
    await gate.desk.revoke(MALLORY, "token", MALLORY.token_id, "it was lost")
    assert {item.subject for item in await gate.store.read(Revocations())} == {bot.id, MALLORY.token_id}
