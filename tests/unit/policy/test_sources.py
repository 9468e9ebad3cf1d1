"""The default library: its sources, its compiled form, and OPA itself agree."""

import contextlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lockgate.contract.decision import Question
from lockgate.policy.builtins import OFFERED, BuiltinRefused, call_builtin
from lockgate.policy.bundle import LIBRARY, PolicyBundle, library_bundle, library_manifest
from lockgate.policy.compile import compile_bundle, entrypoint, pure_capabilities
from lockgate.policy.embedded import EmbeddedEngine
from lockgate.policy.input import encode_input
from lockgate.policy.opa import OpaFailed, OpaMissing, find_opa, run_opa
from lockgate.policy.output import read_answer
from lockgate.policy.parameters import read_parameters
from lockgate.policy.replay import UNHURRIED
from lockgate.policy.testing import check_policies, run_policy_tests
from lockgate.policy.wasm import Bounds, PolicyInstance, PolicyModule
from lockgate.testing.policy_engine import AGENT, DIGESTS, NOON, example_input, example_plan

ROOT = Path(__file__).parents[3]
POLICIES = ROOT / "policies"


@pytest.mark.opa
def test_the_sources_compile_to_exactly_the_package_data(opa: Path) -> None:
    for name, content in compile_bundle(opa, POLICIES).items():
        assert LIBRARY.joinpath(name).read_bytes() == content, (
            f"{name} is not what policies/ compiles to: run "
            "`python -m lockgate.policy.compile policies src/lockgate/policy/library`"
        )


@pytest.mark.opa
def test_the_sources_compile_to_the_same_bytes_anywhere(opa: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "another" / "place"
    shutil.copytree(POLICIES, elsewhere)
    assert compile_bundle(opa, elsewhere) == compile_bundle(opa, POLICIES)


@pytest.mark.opa
def test_the_capabilities_are_opas_less_what_is_impure(opa: Path) -> None:
    committed = json.loads((POLICIES / "capabilities.json").read_text())
    assert committed == pure_capabilities(opa)
    names = {builtin["name"] for builtin in committed["builtins"]}
    assert not {"http.send", "opa.runtime", "time.now_ns", "rand.intn", "uuid.rfc4122"} & names
    assert set(OFFERED) <= names


@pytest.mark.opa
def test_the_library_passes_its_own_tests_and_the_strict_check(opa: Path) -> None:
    check_policies(POLICIES, opa)
    results = run_policy_tests([POLICIES], opa).tests
    assert len(results) > 30
    assert [result for result in results if not result.passed] == []


@pytest.mark.opa
def test_a_failing_rego_test_is_reported_with_its_line(opa: Path, tmp_path: Path) -> None:
    (tmp_path / "x_test.rego").write_text("package x_test\n\ntest_good if true\n\ntest_bad if 1 == 2\n")
    good, bad = sorted(run_policy_tests([tmp_path], opa).tests, key=lambda result: result.passed, reverse=True)
    assert (good.name, good.problem) == ("test_good", "")
    assert bad.problem.endswith("x_test.rego:5: failed")


@pytest.mark.opa
def test_a_policy_that_does_not_parse_or_reads_the_clock_is_refused_with_its_line(opa: Path, tmp_path: Path) -> None:
    (tmp_path / "capabilities.json").write_bytes((POLICIES / "capabilities.json").read_bytes())
    for text, problem in (("package x\n\nallow if {", "x.rego:3"), ("package x\n\nt := time.now_ns()", "time.now_ns")):
        (tmp_path / "x.rego").write_text(text)
        with pytest.raises(OpaFailed, match=problem):
            check_policies(tmp_path, opa)


@pytest.mark.opa
def test_a_folder_without_tests_does_not_pass(opa: Path, tmp_path: Path) -> None:
    (tmp_path / "x.rego").write_text("package x\n\nallow := true\n")
    with pytest.raises(OpaFailed, match="no test"):
        run_policy_tests([tmp_path], opa)


def test_without_opa_the_error_names_the_fix(tmp_path: Path) -> None:
    for environ in ({"PATH": str(tmp_path)}, {"LOCKGATE_OPA": str(tmp_path / "none"), "PATH": os.environ["PATH"]}):
        with pytest.raises(OpaMissing, match="tools/get opa"):
            find_opa(environ)


def test_every_rule_that_can_fire_has_its_words() -> None:
    rules = json.loads(LIBRARY.joinpath("manifest.json").read_text())["rules"]
    sources = "".join(file.read_text() for file in POLICIES.rglob("*.rego") if not file.name.endswith("_test.rego"))
    fired = {part.split('"')[0] for part in sources.split('{"rule": "')[1:]}
    assert fired == {name for name, rule in rules.items() if "parameters" not in rule}
    listed = {f"{name}.rego" for name, rule in rules.items() if "parameters" in rule}
    files = {file.name for file in (POLICIES / "lockgate" / "rules").glob("*.rego")}
    assert {name for name in files if not name.endswith("_test.rego")} == listed


def test_no_rule_looks_at_the_reason() -> None:
    for file in POLICIES.rglob("*.rego"):
        if not file.name.endswith("_test.rego"):
            assert "input.reason" not in file.read_text(), file


@pytest.mark.opa
@pytest.mark.parametrize(
    ("name", "operand"),
    [
        ("time.parse_rfc3339_ns", "2026-11-23"),
        ("time.parse_rfc3339_ns", "2026-13-01T00:00:00Z"),
        ("time.parse_rfc3339_ns", "2026-02-29T00:00:00Z"),
        ("time.parse_rfc3339_ns", "2300-01-01T00:00:00Z"),
        ("time.clock", [0, "Europe/Atlantis"]),
        ("time.clock", "now"),
        ("time.weekday", 2**63),
    ],
)
def test_builtins_refuse_what_opa_leaves_undefined(opa: Path, name: str, operand: Any) -> None:
    with pytest.raises(BuiltinRefused):
        call_builtin(name, [operand])
    query = f"x := {json.dumps(operand)}; {name}(x)"
    with contextlib.suppress(OpaFailed):  # a type error that OPA already sees while compiling
        assert "result" not in json.loads(run_opa(opa, ["eval", "--format", "json", query]))


@pytest.mark.parametrize("name", ["http.send", "regex.replace", "", "builtin 3"])
def test_what_is_not_offered_is_refused(name: str) -> None:
    with pytest.raises(BuiltinRefused, match="does not offer"):
        call_builtin(name, [])


HUMAN: dict[str, Any] = {
    **AGENT,
    "id": "https://issuer.test#carol",
    "subject": "carol",
    "kind": "human",
    "owner": None,
    "roles": ["platform-team"],
    "authentication": {"method": "jwt", "audience": "people", "auth_time": 1795430000},
}
WEB_AGENT = {
    **example_input(Question.LIST)["subject"],
    "id": "https://id.example.com#agent-web-1",
    "issuer": "https://id.example.com",
    "subject": "agent-web-1",
}
PRODUCTION = {"name": "web", "environment": "production", "region": "eu-west", "labels": {"team": "web"}}
DEPLOY = {"name": "deploy_web", "driver": "runbook", "effect": "change", "risk": "low"}
VOTER = {key: value for key, value in HUMAN.items() if key != "authentication"}
VOTE = {"voter": VOTER, "verdict": "approve", "digests": DIGESTS, "expires_at": "2026-11-23T13:00:00Z"}


def library_cases() -> list[tuple[Question, dict[str, Any]]]:
    """A modest grid over everything the library looks at."""
    base = {"subject": WEB_AGENT, "action": DEPLOY, "target": PRODUCTION}
    cases = [(question, example_input(question, **base)) for question in Question]
    cases += [(question, example_input(question, **{**base, "subject": HUMAN})) for question in Question]
    own = {"now": NOON, "freeze": False, "requester": {**AGENT, "owner": HUMAN["id"]}}
    cases += [(Question.APPROVE, example_input(Question.APPROVE, **{**base, "subject": HUMAN}, context=own))]
    unsure = {**HUMAN, "authentication": {**HUMAN["authentication"], "auth_time": None}}
    cases += [(Question.APPROVE, example_input(Question.APPROVE, **{**base, "subject": unsure}))]
    for target in (
        {**PRODUCTION, "environment": "staging"},
        {**PRODUCTION, "region": "us"},
        {**PRODUCTION, "labels": {}},
        {**PRODUCTION, "labels": {"team": "web", "tier": "database"}},
    ):
        cases += [(q, example_input(q, **{**base, "target": target})) for q in (Question.LIST, Question.APPLY)]
    for effect in ("read", "destroy"):
        action = {**DEPLOY, "effect": effect, "name": "restart_web"}
        cases += [(q, example_input(q, **{**base, "action": action})) for q in (Question.REQUEST, Question.PLAN)]
    for change in (
        {"incomplete": True},
        {"fidelity": "predicted"},
        {"provisioners": ["local-exec"]},
        {"summary": {"create": 20, "update": 1, "delete": 2, "replace": 3}},
        {"summary": {"create": 0, "update": 0, "delete": 0, "replace": 1}},
    ):
        cases += [(q, example_input(q, **base, plan=example_plan(**change))) for q in (Question.PLAN, Question.APPLY)]
    for now in (NOON, "2026-11-23T06:00:00Z", "2026-11-24T23:00:00.5Z", "2026-11-25T02:00:00Z", "2026-12-24T12:00:00Z"):
        for freeze in (False, True):
            context = {"now": now, "freeze": freeze}
            cases.append((Question.APPLY, example_input(Question.APPLY, **base, context=context, approvals=[VOTE])))
    stale = {**VOTE, "digests": {**DIGESTS, "inputs_sha256": "1" * 64}}
    for votes in ([VOTE, VOTE], [stale], [{**VOTE, "verdict": "reject"}], [{**VOTE, "expires_at": NOON}]):
        cases.append((Question.APPLY, example_input(Question.APPLY, **base, approvals=votes)))
    return cases


@pytest.mark.opa
async def test_the_embedded_engine_decides_as_opa_does(opa: Path, tmp_path: Path) -> None:
    manifest = library_manifest()
    parameters = read_parameters((POLICIES / "data.example.yaml").read_text(), "data.example.yaml")
    bundle = library_bundle(LIBRARY.joinpath("policy.wasm").read_bytes(), manifest, parameters)
    cases = library_cases()
    expected = opa_answers(opa, tmp_path, bundle.data, cases)
    engine = EmbeddedEngine(bundle, UNHURRIED)
    outcomes = set()
    for (question, document), answer in zip(cases, expected, strict=True):
        decision = await engine.decide(question, document)
        violations, obligations = read_answer(answer, bundle.rules)
        assert (decision.violations, decision.obligations) == (violations, obligations), document
        outcomes |= {violation.rule for violation in violations} or {"allow"}
    await engine.close()
    always = {name for name, rule in manifest["rules"].items() if "parameters" not in rule}
    assert outcomes >= always - {"plan_digests", "plan_incomplete"} | {"allow"}
    assert not [rule for rule in outcomes if rule.startswith("lockgate.engine.")]


def opa_answers(opa: Path, folder: Path, data: bytes, cases: list[tuple[Question, dict[str, Any]]]) -> list[Any]:
    """What `opa eval` says, all cases in one run."""
    (folder / "data.json").write_bytes(data)
    asked = [{"question": question.value, "input": json.loads(encode_input(document))} for question, document in cases]
    (folder / "input.json").write_text(json.dumps(asked))
    branches = "\n".join(
        f'answers[i] := a if {{ some i, c in input; c.question == "{question.value}"; '
        f"a := data.{entrypoint(question).replace('/', '.')} with input as c.input }}"
        for question in Question
    )
    (folder / "ask.rego").write_text(
        "package ask\n\n" + branches.replace("{ some", "{\n some").replace("; ", "\n ") + "\n"
    )
    arguments = ["eval", "--format", "json", "--data", str(POLICIES / "lockgate"), "--data", str(folder / "ask.rego")]
    arguments += ["--data", str(folder / "data.json"), "--input", str(folder / "input.json"), "data.ask.answers"]
    answers = json.loads(run_opa(opa, arguments))["result"][0]["expressions"][0]["value"]
    return [answers[str(index)] for index in range(len(cases))]


LOOPING = "package lockgate.request\n\ndecision := count([1 | some a in numbers.range(1, 9000); some b in numbers.range(1, 9000); a == b])\n"
HUNGRY = "package lockgate.request\n\ndecision := count(numbers.range(1, 99999999))\n"
UNDEFINED = "package lockgate.request\n\ndecision := true if input.nothing\n"
UNOFFERED = 'package lockgate.request\n\ndecision := regex.replace("a", "b", "c")\n'


@pytest.mark.opa
@pytest.mark.parametrize(
    ("rego", "rules"),
    [
        (LOOPING, {"lockgate.engine.timeout"}),
        (HUNGRY, {"lockgate.engine.memory", "lockgate.engine.timeout"}),
        (UNDEFINED, {"lockgate.engine.undefined"}),
        (UNOFFERED, {"lockgate.engine.builtin"}),
    ],
)
async def test_hostile_rego_compiled_by_opa_denies(opa: Path, tmp_path: Path, rego: str, rules: set[str]) -> None:
    engine = EmbeddedEngine(PolicyBundle(compile_one(opa, tmp_path, rego), b"{}"))
    decision = await engine.decide(Question.REQUEST, example_input(Question.REQUEST))
    assert not decision.allow
    assert {violation.rule for violation in decision.violations} <= rules
    await engine.close()


@pytest.mark.opa
def test_an_instance_gives_the_same_answers_after_large_and_small_inputs(opa: Path, tmp_path: Path) -> None:
    """The heap is reset by hand before every evaluation: nothing of one input may be seen by the next."""
    echo = "package lockgate.request\n\ndecision := {upper(k): v | some k, v in input}\n"
    module = PolicyModule(compile_one(opa, tmp_path, echo))
    instance = PolicyInstance(module, b'{"a": [1, 2, {"b": "c"}]}', Bounds(seconds=30))
    for size in (1, 100_000, 3, 1_000_000, 0, 70_000, 5):
        document = {f"k{number}": "x" * (size // 10) for number in range(10)}
        answer = instance.evaluate(entrypoint(Question.REQUEST), json.dumps(document).encode())
        assert answer == {key.upper(): value for key, value in document.items()}
    module.close()


@pytest.mark.opa
def test_a_module_with_more_constants_than_opa_declares_memory_for_starts(opa: Path, tmp_path: Path) -> None:
    """OPA writes "two pages at least" into every module, also into one whose constants do not fit into two."""
    text = "x" * 300_000
    module = PolicyModule(compile_one(opa, tmp_path, f'package lockgate.request\n\ndecision := "{text}"\n'))
    instance = PolicyInstance(module, b"{}", Bounds(seconds=30))
    assert instance.evaluate(entrypoint(Question.REQUEST), b"{}") == text
    module.close()


def compile_one(opa: Path, folder: Path, rego: str) -> bytes:
    (folder / "policy.rego").write_text(rego)
    output = folder / "out.tar.gz"
    arguments = ["build", "--target", "wasm", "--entrypoint", entrypoint(Question.REQUEST), str(folder / "policy.rego")]
    run_opa(opa, [*arguments, "--output", str(output)])
    return subprocess.run(["tar", "-xzOf", str(output), "/policy.wasm"], check=True, capture_output=True).stdout
