"""A rule that a deployment brought can deny or hold an operation, never let one through; approvers see what it said, agents do not."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.invariants.gate import Gate
from tests.invariants.parties import agent, human, plan_bytes

from lockgate.gateway.api.rest import details_view
from lockgate.gateway.operations.model import Operation
from lockgate.gateway.operations.records import recorded
from lockgate.gateway.operations.views import agent_view, summary_line
from lockgate.gateway.store.port import DecisionsOf
from lockgate.policy.building import build_policy
from lockgate.policy.bundle import LIBRARY
from lockgate.policy.embedded import EmbeddedEngine
from lockgate.policy.replay import UNHURRIED, Verdict, replay

pytestmark = pytest.mark.opa
CAROL = human("carol")
RULES = """package teamrules

score := 7 * count([change | some change in input.resource_changes; "update" in change.change.actions])

deny contains msg if {
	some change in input.resource_changes
	"create" in change.change.actions
	msg := concat(" ", ["nothing new:", change.address])
}

never := input.nowhere
"""
ENTRIES = """
bring:
  - {name: score, path: teamrules.score, reads: score, limit: 13.25, effect: approve, title: Points}
  - {name: deny, path: teamrules.deny, reads: denials, effect: deny, title: Nothing new, fix: Use what is there.}
  - {name: never, path: teamrules.never, reads: allowed, effect: approve, targets: {environments: [production]}}
"""


@pytest.fixture
async def gate(opa: Path, tmp_path: Path) -> AsyncIterator[Gate]:
    """A gateway whose policy holds what scores more than 13.25, denies creations, and has a rule without a value in production."""
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "rules.rego").write_text(RULES)
    data = LIBRARY.joinpath("data.default.yaml").read_text("utf-8") + ENTRIES
    engine = EmbeddedEngine(build_policy(data, "data.yaml", [folder], opa), UNHURRIED)
    made = await Gate(tmp_path / "store" / "store.db", engine).open()
    yield made
    await made.close()
    await engine.close()


async def shown(gate: Gate, operation: Operation) -> dict[str, Any]:
    found: dict[str, Any] = details_view(await gate.desk.show(CAROL, operation.id))
    return found


async def test_a_plan_that_passes_goes_on_alone_and_what_was_said_is_shown_all_the_same(gate: Gate) -> None:
    alone = await gate.planned(await gate.ask(), plan_bytes("update"))
    assert alone.state.value == "queued"
    assert {each["name"]: each["value"] for each in (await shown(gate, alone))["readings"]} == {"deny": [], "score": 7}


async def test_a_plan_is_held_by_its_score_and_its_approver_sees_it(gate: Gate) -> None:
    held = await gate.planned(await gate.ask(), plan_bytes("update", "update"))
    assert held.state.value == "pending_approval"
    (score,) = [each for each in (await shown(gate, held))["readings"] if each["name"] == "score"]
    assert (score["title"], score["value"], score["limit"], score["verdict"]) == ("Points", 14, 13.25, "violated")
    after = await gate.vote(held, CAROL)
    assert (after.state.value, after.phase and after.phase.value) == ("queued", "apply")


async def test_an_agent_is_told_the_rule_and_the_fix_and_neither_value_nor_limit_nor_path(gate: Gate) -> None:
    denied = await gate.planned(await gate.ask(), plan_bytes("create"))
    assert denied.state.value == "denied"
    view = agent_view(denied)
    assert view["rules"][0]["rule"] == "brought.deny"
    assert view["fix"] == "Use what is there."
    told = json.dumps(view) + summary_line(denied)
    assert "Nothing new" in told
    assert not [
        secret for secret in ("nothing new: service", "teamrules", "13.25") if secret in told.replace(denied.id, "")
    ]
    assert (await shown(gate, denied))["readings"][0]["value"] == ["nothing new: service.web0"]


async def test_a_rule_without_a_value_denies_although_its_effect_is_to_ask(gate: Gate) -> None:
    denied = await gate.planned(await gate.ask(target="web-prod"), plan_bytes("update"))
    assert denied.state.value == "denied"
    assert [reason.rule for reason in denied.reasons] == ["brought.never.undefined"]


async def test_a_rule_that_is_content_permits_nobody(gate: Gate) -> None:
    refused = await gate.ask(agent(roles=()))
    assert refused.state.value == "denied"
    assert [reason.rule for reason in refused.reasons] == ["role"]


async def test_what_was_said_is_in_the_record_and_replays_to_the_byte(gate: Gate) -> None:
    held = await gate.planned(await gate.ask(), plan_bytes("update", "update"))
    await gate.vote(held, CAROL)
    records = [record for record in await gate.store.read(DecisionsOf(held.id)) if record.document.get("readings")]
    assert {record.question for record in records} >= {"plan", "apply"}
    again = EmbeddedEngine(gate.core.policy.bundle, UNHURRIED)
    for record in records:
        assert (await replay(again, recorded(record))).verdict is Verdict.SAME
    await again.close()
