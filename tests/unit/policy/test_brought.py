"""Rules that a deployment brings: unchanged Rego in its own package, evaluated by the embedded engine as an entry of policy data says."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from lockgate.contract.decision import Decision, Question
from lockgate.contract.reading import Verdict
from lockgate.policy.brought import canonical
from lockgate.policy.bundle import library_bundle
from lockgate.policy.compile import compile_bundle
from lockgate.policy.embedded import EmbeddedEngine
from lockgate.policy.glue import GLUE_NAME, glue
from lockgate.policy.parameters import read_parameters
from lockgate.policy.port import PolicyLoadError
from lockgate.policy.replay import UNHURRIED
from lockgate.testing.policy_engine import example_input, example_plan

POLICIES = Path(__file__).parents[3] / "policies"
DATA = """version: 1
roles:
  all: {questions: [list, request, plan, apply]}
  voters: {questions: [approve]}
bindings:
  - subject: {issuer: "https://issuer.test", id: agent-1}
    roles: [all]
regions: {default: ["*"]}
limits: [{incomplete: allow}]
approvals:
  approvers: [voters]
  standard: {count: 1, groups: [voters], expires_in_seconds: 60}
"""
RULES = """package team

score := count(input.resource_changes)

authz if score < 3

deny contains msg if {
	some change in input.resource_changes
	msg := concat(" ", ["may not touch", change.address])
}

target_of := input.target.name

broken := 1 if input.resource_changes[0].address == "a"

broken := 2 if input.resource_changes[0].type == "t"
"""


def entry(**fields: Any) -> str:
    lines = "\n".join(f"    {name}: {value}" for name, value in fields.items())
    return f"{DATA}bring:\n  - name: mine\n{lines}\n"


@pytest.fixture(scope="module")
def decided(opa: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Decides `plan` or `apply` about a plan of so many changes, under DATA with one entry; modules are compiled once a path."""
    compiled: dict[str, Any] = {}

    def decide(data: str, changes: int = 1, question: Question = Question.PLAN) -> Decision:
        parameters = read_parameters(data, "data.yaml")
        text = glue(parameters["bring"])
        if text not in compiled:
            folder = tmp_path_factory.mktemp("bundle") / "policies"
            shutil.copytree(POLICIES, folder)
            (folder / GLUE_NAME).write_text(text)
            (folder / "team.rego").write_text(RULES)
            manifest = json.loads((folder / ".manifest").read_text())
            manifest["roots"].append("team")
            (folder / ".manifest").write_text(json.dumps(manifest))
            compiled[text] = compile_bundle(opa, folder)
        files = compiled[text]
        manifest = {"rules": {}, "opa": "test"}
        engine = EmbeddedEngine(library_bundle(files["policy.wasm"], manifest, parameters), UNHURRIED)
        touched = [{"address": "a", "type": "t"}] * changes
        plan = example_plan(resource_changes=touched)
        try:
            return asyncio.run(engine.decide(question, example_input(question, plan=plan)))
        finally:
            asyncio.run(engine.close())

    return decide


@pytest.mark.opa
def test_a_score_up_to_its_limit_passes_and_is_recorded(decided: Any) -> None:
    data = entry(path="data.team.score", reads="score", limit=2, effect="deny", title="Blast radius")
    decision = decided(data, 2)
    assert decision.allow, decision.violations
    (reading,) = decision.readings
    assert (reading.value, reading.limit, reading.verdict, reading.title) == (2, 2, Verdict.PASSED, "Blast radius")
    assert Decision.from_document(decision.to_document()) == decision


@pytest.mark.opa
def test_a_score_above_its_limit_denies_in_the_entrys_own_words(decided: Any) -> None:
    data = entry(
        path="team/score", reads="score", limit=2, effect="deny", title="Blast radius", fix="Split the change."
    )
    decision = decided(data, 3)
    (violation,) = decision.violations
    assert (violation.rule, violation.title, violation.fix) == ("brought.mine", "Blast radius", "Split the change.")
    assert violation.details["value"] == 3
    assert violation.details["path"] == "data.team.score"
    assert "score" not in violation.message, "agents read it, and it tells them no path"


@pytest.mark.opa
def test_the_same_rule_may_ask_for_approval(decided: Any) -> None:
    data = entry(path="team.score", reads="score", limit=2, effect="approve")
    assert decided(data, 2).obligations.approvals is None
    held = decided(data, 3)
    assert held.allow
    assert held.obligations.approvals is not None
    assert set(held.obligations.approvals.groups) == {"voters"}
    (reading,) = held.readings
    assert reading.verdict is Verdict.VIOLATED
    assert [violation.rule for violation in decided(data, 3, Question.APPLY).violations] == ["approvals"]


@pytest.mark.opa
def test_a_set_of_denials_denies_and_is_shown(decided: Any) -> None:
    decision = decided(entry(path="data.team.deny", reads="denials", effect="deny"), 1)
    assert [violation.rule for violation in decision.violations] == ["brought.mine"]
    assert decision.readings[0].value == ("may not touch a",)
    assert decided(entry(path="data.team.deny", reads="denials", effect="deny"), 0).allow


@pytest.mark.opa
@pytest.mark.parametrize("effect", ["deny", "approve"])
def test_an_undefined_rule_denies_whatever_its_effect_is(decided: Any, effect: str) -> None:
    decision = decided(entry(path="data.team.authz", reads="allowed", effect=effect), 3)
    assert [violation.rule for violation in decision.violations] == ["brought.mine.undefined"]
    assert "no value" in decision.violations[0].message
    assert decided(entry(path="data.team.authz", reads="allowed", effect=effect), 2).allow


@pytest.mark.opa
def test_a_value_of_another_type_denies_whatever_the_effect_is(decided: Any) -> None:
    decision = decided(entry(path="data.team.score", reads="denials", effect="approve"))
    assert [violation.rule for violation in decision.violations] == ["brought.mine.mistyped"]
    assert decision.violations[0].details["type"] == "number"


@pytest.mark.opa
def test_a_rule_that_contradicts_itself_denies(decided: Any) -> None:
    decision = decided(entry(path="data.team.broken", reads="score", limit=9, effect="deny"))
    assert [violation.rule for violation in decision.violations] == ["lockgate.engine.trap"]


@pytest.mark.opa
def test_a_rule_may_read_the_whole_document(decided: Any) -> None:
    data = entry(path="data.team.target_of", input="document", reads="denials", effect="deny")
    assert decided(data).violations[0].details["type"] == "string"  # it is defined: of the whole input, not of the plan
    over_the_plan = entry(path="data.team.target_of", reads="denials", effect="deny")
    assert decided(over_the_plan).violations[0].rule == "brought.mine.undefined"


@pytest.mark.opa
def test_a_rule_that_says_yes_allows_nothing(decided: Any) -> None:
    """Its yes is no permission: who holds no role is refused as before."""
    nobodys = entry(path="data.team.authz", reads="allowed", effect="deny").replace("id: agent-1", "id: agent-2")
    decision = decided(nobodys)
    assert decision.readings[0].verdict is Verdict.PASSED
    assert [violation.rule for violation in decision.violations] == ["role"]


@pytest.mark.opa
def test_the_library_alone_denies_what_was_never_built_in() -> None:
    """The shipped module knows no rule of anybody's: an entry for one is a no, not nothing."""
    from lockgate.policy.bundle import LIBRARY

    parameters = read_parameters(entry(path="data.team.score", reads="score", limit=99, effect="deny"), "data.yaml")
    bundle = library_bundle(LIBRARY.joinpath("policy.wasm").read_bytes(), {"rules": {}, "opa": ""}, parameters)
    engine = EmbeddedEngine(bundle, UNHURRIED)
    decision = asyncio.run(engine.decide(Question.PLAN, example_input(Question.PLAN)))
    asyncio.run(engine.close())
    assert [violation.rule for violation in decision.violations] == ["brought.mine.undefined"]


@pytest.mark.parametrize(
    "path", ["data.terraform.analysis.score", "terraform.analysis.score", "terraform/analysis/score"]
)
def test_three_spellings_of_a_path_are_one(path: str) -> None:
    assert canonical(path) == "data.terraform.analysis.score"


GOOD = {"path": "data.team.score", "reads": "score", "limit": 3, "effect": "deny"}


@pytest.mark.parametrize(
    ("changes", "field", "problem"),
    [
        ({"limit": None}, "bring[0]", "is missing 'limit'"),
        ({"reads": "allowed"}, "bring[0].limit", "belongs to a score alone"),
        ({"path": "lockgate.limits.changes"}, "bring[0].path", "lies in `lockgate`"),
        ({"path": "data/system/authz/allow"}, "bring[0].path", "lies in `system`"),
        ({"path": "data.score"}, "bring[0].path", "must name a rule in its package"),
        ({"path": "team.score[_]"}, "bring[0].path", "pattern"),
        ({"path": '"team.a b"'}, "bring[0].path", "pattern"),
        ({"reads": "boolean"}, "bring[0].reads", "must be one of"),
        ({"effect": "allow"}, "bring[0].effect", "must be one of"),
        ({"effect": None}, "bring[0]", "is missing 'effect'"),
        ({"limit": '"3"'}, "bring[0].limit", "type"),
        ({"questions": "[request]"}, "bring[0].questions", "no plan yet at `request`"),
        ({"questions": "[approve]"}, "bring[0].questions[0]", "must be one of"),
        ({"require": "{count: 1, groups: [voters], expires_in_seconds: 9}"}, "bring[0].require", "effect is `deny`"),
        (
            {"effect": "approve", "require": "{count: 1, groups: [nobody], expires_in_seconds: 9}"},
            "bring[0].require.groups[0]",
            "there is no role 'nobody'",
        ),
        ({"allow": "true"}, "bring[0].allow", "unknown field"),
    ],
)
def test_a_bad_entry_is_refused_with_its_line_and_field(changes: dict[str, Any], field: str, problem: str) -> None:
    fields = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    with pytest.raises(PolicyLoadError) as refused:
        read_parameters(entry(**fields), "data.yaml")
    assert refused.value.field == field
    assert problem in str(refused.value)
    assert refused.value.line is not None
    assert refused.value.line > DATA.count("\n")


def test_two_entries_of_one_name_are_refused() -> None:
    twice = entry(**GOOD) + "  - {name: mine, path: team.other, reads: allowed, effect: deny}\n"
    with pytest.raises(PolicyLoadError, match=r"bring\[1\]\.name: is the name of bring\[0\] too"):
        read_parameters(twice, "data.yaml")


def test_no_text_becomes_code_in_the_glue() -> None:
    """Names and paths are checked by the schema; the glue quotes them all the same."""
    text = glue({'x"] := 1 #': {"path": 'data.a.b"\n}\nvalues contains 1 if { true', "input": "plan"}})
    assert "\nvalues contains 1" not in text
