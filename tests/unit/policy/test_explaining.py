"""Why a decision came out as it did: the paths that made it and what would make it pass, as the engine itself shows by being asked again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lockgate.contract.decision import Question
from lockgate.policy import explaining
from lockgate.policy.bundle import load_library
from lockgate.policy.embedded import EmbeddedEngine
from lockgate.policy.explaining import Explained, explain
from lockgate.policy.input import encode_input
from lockgate.policy.replay import UNHURRIED, Recorded
from lockgate.testing.policy_engine import example_input, example_plan

DATA = """
version: 1
roles:
  deployer: {}
  other: {effects: [read]}
bindings:
  - {subject: {role: deployer}, roles: [deployer]}
  - {subject: {role: other}, roles: [other]}
regions: {default: [eu]}
approvals: {approvers: [deployer], standard: {count: 1, groups: [], expires_in_seconds: 60}}
windows: [{name: mornings, targets: {environments: [office]}, zone: UTC, days: [monday], from: "08:00", to: "09:00"}]
limits: [{targets: {environments: [staging]}, max_changes: 3}]
rules: {public_bucket: [{effect: deny, require_block: false}]}
"""

Explain = Callable[..., Explained]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedEngine]:
    path = tmp_path_factory.mktemp("policy") / "data.yaml"
    path.write_text(DATA)
    made = EmbeddedEngine(load_library(path), UNHURRIED)
    yield made
    asyncio.run(made.close())


async def asked(engine: EmbeddedEngine, document: dict[str, Any], **changes: Any) -> Explained:
    decision = await engine.decide(Question(document["question"]), document)
    return await explain(engine, Recorded(decision, encode_input(document), **changes))


def request(**changes: Any) -> dict[str, Any]:
    """A request that the policy allows, but for what is changed: `subject={...}` goes into the subject."""
    base = example_input(Question.REQUEST)
    base["subject"] = {**base["subject"], "roles": ["deployer"]}
    for name, value in changes.items():
        base[name] = {**base[name], **value} if isinstance(value, dict) else value
    return base


def planned(*changes: dict[str, Any], summary: dict[str, int] | None = None) -> dict[str, Any]:
    base = example_input(Question.PLAN)
    counted = {"create": len(changes), "update": 0, "delete": 0, "replace": 0}
    plan = example_plan(resource_changes=list(changes), summary=summary or counted)
    return {**base, "subject": {**base["subject"], "roles": ["deployer"]}, "plan": plan}


def bucket(name: str, **after: Any) -> dict[str, Any]:
    return {
        "address": f"aws_s3_bucket.{name}",
        "mode": "managed",
        "type": "aws_s3_bucket",
        "name": name,
        "provider_name": "registry.opentofu.org/hashicorp/aws",
        "change": {
            "actions": ["create"],
            "before": None,
            "after": {"bucket": name, **after},
            "after_unknown": {},
        },
    }


def made_by(found: Explained, rule: str) -> dict[str, str]:
    (said,) = [item for item in found.rules if item.rule == rule]
    return {cause.pointer: cause.value for cause in said.causes}


async def test_a_missing_role_is_named_with_the_role_that_would_do(engine: EmbeddedEngine) -> None:
    found = await asked(engine, request(subject={"roles": []}))
    assert [rule.rule for rule in found.rules] == ["role"]
    assert "/subject/roles" in made_by(found, "role")
    assert ("/subject/roles", "the role deployer") in {(cure.pointer, cure.instead) for cure in found.cures}
    assert found.rules[0].severity == "high" and found.rules[0].why
    assert "the role other" not in {cure.instead for cure in found.cures}


async def test_a_freeze_is_the_freeze(engine: EmbeddedEngine) -> None:
    found = await asked(engine, request(context={"freeze": True}))
    assert made_by(found, "freeze") == {"/action/effect": '"change"', "/context/freeze": "true"}
    assert [(cure.pointer, cure.instead) for cure in found.cures] == [("/context/freeze", "false")]


async def test_a_closed_window_passes_at_the_next_hour_that_is_open(engine: EmbeddedEngine) -> None:
    asking = {**planned(), "question": "apply"}
    asking["target"] = {**asking["target"], "environment": "office"}
    found = await asked(engine, asking)
    assert {"/target/environment": '"office"'}.items() <= made_by(found, "change_window").items()
    times = [cure.instead for cure in found.cures if cure.pointer == "/context/now"]
    assert times == ["2026-11-30T08:00:00Z"]


async def test_a_region_is_named_with_one_that_the_tenant_has(engine: EmbeddedEngine) -> None:
    found = await asked(engine, request(target={"region": "mars"}))
    assert made_by(found, "region") == {"/target/region": '"mars"'}
    assert ("/target/region", '"eu"') in {(cure.pointer, cure.instead) for cure in found.cures}


async def test_in_a_plan_the_smallest_place_is_named_and_the_resource_to_leave_out(engine: EmbeddedEngine) -> None:
    found = await asked(
        engine, planned(bucket("good", tags={"a": "b"}), bucket("bad", acl="public-read", tags={"a": "b"}))
    )
    assert made_by(found, "public_bucket") == {"/plan/resource_changes/1/change/after/acl": '"public-read"'}
    said = {(cure.pointer, cure.instead) for cure in found.cures}
    assert ("/plan/resource_changes/1", "a plan without aws_s3_bucket.bad") in said


async def test_of_several_resources_each_is_looked_into_alone(engine: EmbeddedEngine) -> None:
    plan = planned(bucket("one", acl="public-read"), bucket("fine"), bucket("two", acl="public-read-write"))
    found = await asked(engine, plan)
    assert set(made_by(found, "public_bucket")) == {
        "/plan/resource_changes/0/change/after/acl",
        "/plan/resource_changes/2/change/after/acl",
    }


async def test_two_reasons_have_a_cause_each_and_no_single_cure(engine: EmbeddedEngine) -> None:
    found = await asked(engine, request(target={"region": "mars"}, context={"freeze": True}))
    assert made_by(found, "freeze")["/context/freeze"] == "true"
    assert made_by(found, "region") == {"/target/region": '"mars"'}
    assert found.cures == ()


async def test_an_allow_says_what_it_hangs_on(engine: EmbeddedEngine) -> None:
    found = await asked(engine, request())
    assert (found.decision.allow, found.rules, found.cures) == (True, (), ())
    hangs = {cause.pointer: rules for cause, rules in found.hangs_on}
    assert hangs["/subject/roles"] == ("role",)
    assert hangs["/target/region"] == ("region",)
    assert hangs["/context/freeze"] == ("freeze",)
    assert "/reason" not in hangs


async def test_a_limit_is_told_with_its_details_whatever_is_found(engine: EmbeddedEngine) -> None:
    found = await asked(engine, planned(*(bucket(f"b{n}") for n in range(5))))
    (said,) = found.rules
    assert (said.rule, said.details["limit"]) == ("change_limit", 3)
    assert made_by(found, "change_limit") == {"/plan/summary/create": "5", "/target/environment": '"staging"'}


async def test_the_bound_on_questions_is_kept_and_said(engine: EmbeddedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explaining, "MAX_EVALUATIONS", 3)
    found = await asked(engine, request(context={"freeze": True}))
    assert (found.evaluations, found.exhausted, found.cures) == (3, True, ())


async def test_without_the_policy_or_the_input_the_rules_own_words_are_what_there_is(engine: EmbeddedEngine) -> None:
    document = request(context={"freeze": True})
    decision = await engine.decide(Question.REQUEST, document)
    found = await explain("the policy is not kept", Recorded(decision, encode_input(document)))
    assert (found.problem, found.rules[0].rule, found.evaluations) == ("the policy is not kept", "freeze", 0)
    found = await explain(engine, Recorded(decision, None))
    assert found.problem == "its input is no longer kept"
    found = await explain(engine, Recorded(decision, encode_input(request())))
    assert "digest" in found.problem
    found = await explain(engine, Recorded(decision, encode_input(request()), ("/context/freeze",)))
    assert found.problem == "masked: /context/freeze"
    assert found.document()["problem"]


async def test_a_value_is_shown_no_longer_than_a_line(engine: EmbeddedEngine, tmp_path: Path) -> None:
    found = await asked(engine, request(target={"region": "m" * 60, "labels": {"a": "b" * 100}}))
    assert all(len(value) <= 201 for value in made_by(found, "region").values())
