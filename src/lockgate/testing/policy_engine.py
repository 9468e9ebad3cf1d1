# ruff: noqa: S101 - a contract suite asserts
"""The contract suite of the PolicyEngine port: subclass it, give it an engine, run it. It tests no policy of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from lockgate.contract.decision import ENGINE_RULES, Decision, Question
from lockgate.policy.input import build_input, encode_input, input_sha256
from lockgate.policy.port import PolicyEngine

NOON = "2026-11-23T12:00:00Z"
DIGESTS = dict.fromkeys(("file_sha256", "inputs_sha256", "semantic_sha256"), "0" * 64)
AGENT = {
    "id": "https://issuer.test#agent-1",
    "issuer": "https://issuer.test",
    "subject": "agent-1",
    "kind": "agent",
    "owner": "https://issuer.test#alice",
    "on_behalf_of": None,
}
AUTHENTICATION = {"method": "jwt", "audience": "agents", "auth_time": None}


def example_input(question: Question, **changes: Any) -> dict[str, Any]:
    """A well-formed input for `question`: an agent asks to change a target in staging."""
    parts: dict[str, Any] = {
        "tenant": "default",
        "subject": {**AGENT, "roles": [], "authentication": AUTHENTICATION},
        "action": {"name": "deploy", "driver": "runbook", "effect": "change", "risk": "low"},
        "target": {"name": "web", "environment": "staging", "region": "eu", "labels": {"team": "web"}},
        "arguments": {"version": "1.2.3"},
        "reason": "the release is ready",
        "plan": None,
        "approvals": [],
        "context": {"now": NOON, "freeze": False, "requester": AGENT},
    }
    if question in {Question.PLAN, Question.APPLY, Question.APPROVE}:
        parts["plan"] = example_plan()
    return build_input(question=question, **{**parts, **changes})


def example_plan(**changes: Any) -> dict[str, Any]:
    """A complete plan that creates one thing."""
    plan: dict[str, Any] = {
        "digests": DIGESTS,
        "fidelity": "exact",
        "incomplete": False,
        "summary": {"create": 1, "update": 0, "delete": 0, "replace": 0},
        "resource_changes": [],
        "provisioners": [],
        "providers": [],
    }
    return {**plan, **changes}


class PolicyEngineContract:
    """Provide a pytest fixture `engine` whose policy allows `request` for `example_input`, and nothing to `nobody`."""

    async def test_a_permitted_request_is_allowed(self, engine: PolicyEngine) -> None:
        decision = await engine.decide(Question.REQUEST, example_input(Question.REQUEST))
        assert decision.allow, decision.violations
        assert decision.violations == ()

    async def test_a_decision_says_where_it_comes_from(self, engine: PolicyEngine) -> None:
        decision = await engine.decide(Question.REQUEST, example_input(Question.REQUEST))
        assert (decision.engine, decision.revision) == (engine.name, engine.revision)
        assert decision.revision.startswith("sha256:")
        assert decision.input_sha256.startswith("sha256:")
        assert decision.question is Question.REQUEST
        assert Decision.from_document(decision.to_document()) == decision

    async def test_the_same_input_gives_the_same_answer_under_another_id(self, engine: PolicyEngine) -> None:
        asked = example_input(Question.REQUEST, subject=_nobody())
        first, second = [await engine.decide(Question.REQUEST, asked) for _ in range(2)]
        assert first.id != second.id
        assert _timeless(first) == _timeless(second)

    async def test_one_field_more_is_another_input(self, engine: PolicyEngine) -> None:
        one = await engine.decide(Question.REQUEST, example_input(Question.REQUEST))
        other = await engine.decide(Question.REQUEST, example_input(Question.REQUEST, arguments={}))
        assert one.input_sha256 != other.input_sha256

    async def test_nobody_is_denied_every_question_and_told_why(self, engine: PolicyEngine) -> None:
        for question in Question:
            context = {"now": NOON, "freeze": False, "requester": AGENT}
            decision = await engine.decide(question, example_input(question, subject=_nobody(), context=context))
            assert not decision.allow
            assert all(violation.fix and violation.message for violation in decision.violations)

    async def test_a_question_that_is_not_the_documents_is_denied(self, engine: PolicyEngine) -> None:
        decision = await engine.decide(Question.ADMIN, example_input(Question.REQUEST))
        assert _rules(decision) == ["lockgate.engine.input"]

    async def test_a_malformed_document_is_denied_and_the_field_named(self, engine: PolicyEngine) -> None:
        good = example_input(Question.REQUEST)
        for bad, field in (
            ({}, "version"),
            ({**good, "extra": 1}, "extra"),
            ({**good, "version": 2}, "version"),
            ({**good, "target": None}, "target"),
            ({**good, "subject": {**good["subject"], "kind": "root"}}, "subject.kind"),
            ({**good, "context": {"now": "yesterday", "freeze": False}}, "context.now"),
            ({**good, "arguments": {"n": float("nan")}}, "arguments.n"),
            ({**good, "arguments": _deep(100)}, "arguments"),
        ):
            decision = await engine.decide(Question.REQUEST, bad)
            assert _rules(decision) == ["lockgate.engine.input"]
            assert field in decision.violations[0].details["problem"]

    async def test_an_enormous_document_is_denied(self, engine: PolicyEngine) -> None:
        asked = example_input(Question.REQUEST, arguments={"a": "x" * (17 << 20)})
        assert _rules(await engine.decide(Question.REQUEST, asked)) == ["lockgate.engine.input_size"]

    async def test_what_json_cannot_say_is_denied(self, engine: PolicyEngine) -> None:
        for value in ("\ud800", 2**80, float("inf"), {1: "a"}, {"a", "b"}):
            decision = await engine.decide(Question.REQUEST, example_input(Question.REQUEST, arguments={"a": value}))
            assert _rules(decision) == ["lockgate.engine.input"]

    async def test_half_a_character_that_a_json_text_escapes_is_denied_and_a_whole_one_is_not(
        self, engine: PolicyEngine
    ) -> None:
        for text, whole in HALVES:
            for arguments in ({"text": text}, {"list": [{text: 1}]}):
                decision = await engine.decide(Question.REQUEST, example_input(Question.REQUEST, arguments=arguments))
                assert (decision.allow, _rules(decision)) == (
                    (True, []) if whole else (False, ["lockgate.engine.input"])
                ), text
                assert whole or next(iter(arguments)) in decision.violations[0].details["problem"]
                assert decision.input_sha256.startswith("sha256:")

    async def test_text_of_any_script_and_numbers_of_64_bits_are_answered(self, engine: PolicyEngine) -> None:
        for value in (
            "\0\x1b\u2028\U0010ffff",
            "ǅ\u0301" * 100,
            '"}],"result":true',
            2**64 - 1,
            -(2**63),
            1e308,
            5e-324,
        ):
            asked = example_input(Question.REQUEST, arguments={"a": value, str(value): value})
            decision = await engine.decide(Question.REQUEST, asked)
            assert decision.allow, (value, decision.violations)

    async def test_a_caller_that_gives_up_harms_nobody(self, engine: PolicyEngine) -> None:
        for question in (Question.REQUEST, Question.PLAN) * 10:
            leaving = [asyncio.create_task(engine.decide(question, example_input(question))) for _ in range(3)]
            await asyncio.sleep(0)
            for task in leaving:
                task.cancel()
            await asyncio.gather(*leaving, return_exceptions=True)
            asked = example_input(Question.REQUEST, subject=_nobody())
            assert not (await engine.decide(Question.REQUEST, asked)).allow
            assert (await engine.decide(Question.REQUEST, example_input(Question.REQUEST))).allow

    async def test_many_callers_at_once_each_get_their_own_answer(self, engine: PolicyEngine) -> None:
        questions = [Question.REQUEST, Question.PLAN] * 10
        subjects = [example_input(Question.LIST)["subject"], _nobody()]
        asked = [(q, example_input(q, subject=subjects[i // 2 % 2])) for i, q in enumerate(questions)]
        decisions = await asyncio.gather(*(engine.decide(question, document) for question, document in asked))
        for (question, document), decision in zip(asked, decisions, strict=True):
            assert decision.question is question
            assert decision.allow == (document["subject"]["subject"] != "nobody")

    async def test_a_refusal_names_the_document_that_was_refused(self, engine: PolicyEngine) -> None:
        asked = {**example_input(Question.REQUEST), "tenant": 7}
        decision = await engine.decide(Question.REQUEST, asked)
        assert _rules(decision) == ["lockgate.engine.input"]
        assert (decision.evaluated, decision.input_sha256) == (encode_input(asked), input_sha256(encode_input(asked)))

    async def test_a_closed_engine_denies(self, engine: PolicyEngine) -> None:
        await engine.close()
        await engine.close()
        decision = await engine.decide(Question.REQUEST, example_input(Question.REQUEST))
        assert _rules(decision) == ["lockgate.engine.unavailable"]
        assert set(_rules(decision)) <= set(ENGINE_RULES)


HALVES = (
    (r"\ud83d\ude00", True),
    (r"\\ud83d\\ude00", True),
    (r"\\\ud83d\ude00", True),
    (r"\\\\\\ud83d\\ude00", True),
    (r"\\\ud83d\\\ude00", False),
    (r"\UD800, ud800, \u00e9, \ud7ff and \ue000", True),
    (r"\ud800", False),
    (r"\uDEAD", False),
    (r"\\\\udead", False),
    (r"\ude00\ud83d", False),
    (r"\ud83d\ud83d\ude00", False),
    (r"\ud83d \ude00", False),
    (r"\ud83d\\ude00", False),
    (r"\u005cud800", False),
    (r"\u005C\u0075\u0064800", False),
    (r"\\\u0075d800", False),
    (r"\\u005cud800", False),
    (r"\u005cu005cud800", False),
    (r"\u005cud83d\u005cude00", True),
    (r"[\u0041-\u005A\u0061-\u007a]", True),
    (r"C:\u005cnew\u005cdata", True),
    (r"\u005c" + "u005c" * 9, False),
    ("\\" * 100_000 + r"\ud83d\ude00", True),
    ("\\" * 100_001 + r"\ud83d\ude00", False),
)
"""A text, and whether whoever reads it as JSON, however often wrapped, finds whole characters in it."""


def _nobody() -> dict[str, Any]:
    return {
        **AGENT,
        "id": "https://issuer.test#nobody",
        "subject": "nobody",
        "roles": [],
        "authentication": AUTHENTICATION,
    }


def _deep(levels: int) -> Mapping[str, Any]:
    document: dict[str, Any] = {}
    for _ in range(levels):
        document = {"a": document}
    return document


def _rules(decision: Decision) -> list[str]:
    return [violation.rule for violation in decision.violations]


def _timeless(decision: Decision) -> dict[str, Any]:
    return {key: value for key, value in decision.to_document().items() if key not in {"id", "duration_us"}}
