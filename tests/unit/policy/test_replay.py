"""A recorded decision made again: the same to the byte, different and saying where, or unknown and saying why."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from lockgate.contract.decision import Decision, Provenance, Question
from lockgate.policy.bundle import load_library
from lockgate.policy.embedded import EmbeddedEngine
from lockgate.policy.input import build_input, encode_input
from lockgate.policy.port import PolicyEngine
from lockgate.policy.replay import UNHURRIED, Recorded, Verdict, answer_bytes, replay

DATA = """
version: 1
roles: {deployer: {}}
bindings: [{subject: {issuer: "https://issuer.test", id: agent-1}, roles: [deployer]}]
regions: {default: [REGION]}
approvals: {approvers: [deployer], standard: {count: 1, groups: [], expires_in_seconds: 60}}
"""


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[PolicyEngine, PolicyEngine]]:
    """A policy that allows region eu, and one that does not any more."""
    folder = tmp_path_factory.mktemp("policies")
    made = []
    for region in ("eu", "us"):
        (folder / f"{region}.yaml").write_text(DATA.replace("REGION", region))
        made.append(EmbeddedEngine(load_library(folder / f"{region}.yaml"), UNHURRIED))
    yield made[0], made[1]
    for engine in made:
        asyncio.run(engine.close())


def document(**changes: Any) -> dict[str, Any]:
    subject: dict[str, Any] = {
        "id": "https://issuer.test#agent-1",
        "issuer": "https://issuer.test",
        "subject": "agent-1",
        "kind": "agent",
        "owner": None,
        "on_behalf_of": None,
        "roles": [],
        "authentication": {"method": "jwt", "audience": "https://gateway.test/mcp", "auth_time": None},
    }
    built = build_input(
        question=Question.REQUEST,
        tenant="default",
        subject=subject,
        action={"name": "set", "driver": "runbook", "effect": "change", "risk": "low"},
        target={"name": "web", "environment": "dev", "region": "eu", "labels": {}},
        arguments={"text": "hello", "share": 1.0},
        reason="because",
        plan=None,
        approvals=(),
        context={"now": "2026-11-26T12:00:00Z", "freeze": False, "requester": None},
    )
    return {**built, **changes}


async def recorded(engine: PolicyEngine, made: dict[str, Any]) -> Recorded:
    return Recorded(await engine.decide(Question.REQUEST, made), encode_input(made))


async def test_a_decision_made_again_is_the_same_to_the_byte(engines: tuple[PolicyEngine, PolicyEngine]) -> None:
    found = await replay(engines[0], await recorded(engines[0], document()))
    assert (found.verdict, found.same, found.differences) == (Verdict.SAME, True, ())
    assert found.new == found.old == b'{"allow":true,"obligations":{},"question":"request","violations":[]}'


async def test_another_policys_answer_is_different_and_says_where(engines: tuple[PolicyEngine, PolicyEngine]) -> None:
    found = await replay(engines[1], await recorded(engines[0], document()))
    assert (found.verdict, found.same) == (Verdict.DIFFERENT, False)
    assert found.differences == ("/allow: allowed then, denied now", "/violations: region now, not then")


async def test_an_answer_that_was_changed_afterwards_is_found(engines: tuple[PolicyEngine, PolicyEngine]) -> None:
    honest = await recorded(engines[1], document())
    violation = replace(honest.decision.violations[0], message="Never mind.")
    found = await replay(engines[1], replace(honest, decision=replace(honest.decision, violations=(violation,))))
    assert found.verdict is Verdict.DIFFERENT
    assert found.differences == ("/violations: region then, not now", "/violations: region now, not then")


async def test_an_input_that_was_changed_afterwards_is_damaged(engines: tuple[PolicyEngine, PolicyEngine]) -> None:
    honest = await recorded(engines[0], document())
    for changed in (encode_input(document(reason="x")), b"{", b"[]", encode_input({})):
        found = await replay(engines[0], replace(honest, input=changed))
        assert (found.verdict, found.new) == (Verdict.DAMAGED, None)
        assert found.why.startswith("input: ")


async def test_an_input_that_is_gone_is_unknown(engines: tuple[PolicyEngine, PolicyEngine]) -> None:
    found = await replay(engines[0], replace(await recorded(engines[0], document()), input=None))
    assert (found.verdict, found.why) == (Verdict.UNKNOWN, "its input is no longer kept")


async def test_a_masked_input_is_the_same_only_if_it_answers_the_same(
    engines: tuple[PolicyEngine, PolicyEngine],
) -> None:
    honest = await recorded(engines[0], document())
    masked = replace(honest, input=encode_input(document(reason="hmac-sha256:00")), masked=("/reason",))
    assert (await replay(engines[0], masked)).verdict is Verdict.SAME
    target = {**document()["target"], "region": "hmac-sha256:00"}
    masked = replace(honest, input=encode_input(document(target=target)), masked=("/target/region",))
    found = await replay(engines[0], masked)
    assert (found.verdict, found.why) == (Verdict.UNKNOWN, "masked: /target/region")
    assert "/violations: region now, not then" in found.differences


async def test_what_no_policy_answered_is_no_difference(
    engines: tuple[PolicyEngine, PolicyEngine], tmp_path: Path
) -> None:
    honest = await recorded(engines[0], document())
    came_to = Provenance("dec_1", honest.decision.revision, "opa-wasm", honest.decision.input_sha256)
    late = Decision.denied(Question.REQUEST, "lockgate.engine.timeout", came_to)
    found = await replay(engines[0], replace(honest, decision=late))
    assert (found.verdict, found.why) == (Verdict.UNKNOWN, "no policy answered then: lockgate.engine.timeout")
    (tmp_path / "data.yaml").write_text(DATA.replace("REGION", "eu"))
    closed = EmbeddedEngine(load_library(tmp_path / "data.yaml"))
    await closed.close()
    found = await replay(closed, honest)
    assert (found.verdict, found.why) == (Verdict.UNKNOWN, "no policy answers now: lockgate.engine.unavailable")


async def test_the_answer_bytes_hold_what_was_answered_and_nothing_of_how(
    engines: tuple[PolicyEngine, PolicyEngine],
) -> None:
    made = (await recorded(engines[1], document())).decision
    other = replace(made, id="dec_other", duration_us=1, engine="opa", revision="sha256:2")
    assert answer_bytes(made) == answer_bytes(other)
    assert set(orjson.loads(answer_bytes(made))) == {"allow", "obligations", "question", "violations"}


async def test_what_was_refused_as_no_policy_input_is_refused_again(engines: tuple[PolicyEngine, PolicyEngine]) -> None:
    was = await recorded(engines[0], document(tenant=7))
    assert [violation.rule for violation in was.decision.violations] == ["lockgate.engine.input"]
    again = await replay(engines[0], was)
    assert (again.verdict, again.why) == (Verdict.SAME, "")
    other = replace(was, input=encode_input(document(tenant=8)))
    assert (await replay(engines[0], other)).verdict is Verdict.DAMAGED
