"""A policy bundle of the library, policy data and rules that somebody already had, unchanged; and everything that refuses to become one."""

import asyncio
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from tests.ownrules import ANALYSIS_V0, AUTHZ, DATA, DENY, SCORE, changes, team_folder

from lockgate.contract.decision import Decision, Question
from lockgate.contract.reading import Verdict
from lockgate.policy.building import build_policy
from lockgate.policy.bundle import PolicyBundle, library_with
from lockgate.policy.bundles.layout import bundle_files, read_bundle
from lockgate.policy.embedded import EmbeddedEngine
from lockgate.policy.opa import OpaFailed
from lockgate.policy.port import PolicyLoadError
from lockgate.policy.replay import UNHURRIED
from lockgate.testing.policy_engine import example_input, example_plan

pytestmark = pytest.mark.opa


def decide(bundle: PolicyBundle, plan: dict[str, Any], question: Question = Question.PLAN) -> Decision:
    engine = EmbeddedEngine(bundle, UNHURRIED)
    try:
        return asyncio.run(engine.decide(question, example_input(question, plan=plan)))
    finally:
        asyncio.run(engine.close())


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return team_folder(tmp_path_factory.mktemp("team"))


@pytest.fixture(scope="module")
def bundle(opa: Path, team: Path) -> PolicyBundle:
    return build_policy(DATA + SCORE + AUTHZ + DENY, "data.yaml", [team], opa)


def test_a_rule_of_old_rego_decides_unchanged(bundle: PolicyBundle, team: Path) -> None:
    owned = {"owner": "web"}
    passed = decide(bundle, changes(("aws_instance", "create"), ("aws_instance", "delete"), tags=owned))
    assert passed.allow, passed.violations
    assert {reading.name: reading.value for reading in passed.readings} == {
        "authorized": True,
        "blast_radius": 11,
        "conftest": (),
    }
    denied = decide(bundle, changes(("aws_autoscaling_group", "delete"), tags=owned))
    assert [violation.rule for violation in denied.violations] == ["brought.blast_radius"]
    assert denied.violations[0].details["value"] == 100
    assert (team / "terraform" / "analysis.rego").read_text() == ANALYSIS_V0


def test_each_entry_has_its_own_effect(bundle: PolicyBundle) -> None:
    held = decide(bundle, changes(("aws_iam", "create"), tags={"owner": "web"}))
    assert held.allow
    assert held.obligations.approvals is not None
    verdicts = {reading.name: reading.verdict for reading in held.readings}
    assert verdicts["authorized"] is Verdict.VIOLATED
    nobodys = decide(bundle, changes(("aws_instance", "create")))
    assert [violation.rule for violation in nobodys.violations] == ["brought.conftest"]
    assert {reading.name: reading.value for reading in nobodys.readings}["conftest"] == (
        "aws_instance.r0 has no owner",
    )


def test_what_was_built_is_a_bundle_that_opa_would_take(bundle: PolicyBundle) -> None:
    files = bundle_files(bundle)
    assert read_bundle(files, "bundle.tar.gz").revision == bundle.revision
    assert {"terraform", "main"} < set(bundle.roots)
    assert not [name for name in files if "test" in name or "plan.json" in name]
    modules = {name: text for name, text in bundle.modules.items() if name.startswith("own/")}
    assert len(modules) == 2
    assert all("import rego.v1" in text for text in modules.values()), "every module reads as Rego v1"


def test_a_bundle_whose_data_brings_what_its_glue_does_not_join_is_refused(bundle: PolicyBundle) -> None:
    data = json.loads(bundle.data)
    entry = data["lockgate"]["parameters"]["bring"]["blast_radius"]
    for edit in ({"path": "data.terraform.analysis.authz"}, {"input": "document"}, None, {"path": 1}):
        changed = {
            **data["lockgate"]["parameters"],
            "bring": {"blast_radius": {**entry, **edit}} if edit else [1],
        }
        other = replace(bundle, data=rfc8785.dumps({**data, "lockgate": {"parameters": changed}}))
        with pytest.raises(PolicyLoadError, match=r"lockgate/glue\.rego: .*build the bundle again"):
            read_bundle(bundle_files(other), "bundle.tar.gz")


def test_the_same_sources_give_the_same_bundle(bundle: PolicyBundle, team: Path, opa: Path) -> None:
    assert build_policy(DATA + SCORE + AUTHZ + DENY, "data.yaml", [team], opa).revision == bundle.revision


def test_data_of_the_folder_comes_along(opa: Path, tmp_path: Path) -> None:
    (tmp_path / "limits").mkdir()
    (tmp_path / "rule.rego").write_text("package team\n\nmost := data.limits.most\n")
    (tmp_path / "limits" / "data.yaml").write_text("most: 7\n")
    made = build_policy(
        DATA + "  - {name: r, path: team.most, reads: score, limit: 9, effect: deny}\n", "d.yaml", [tmp_path], opa
    )
    assert decide(made, changes()).readings[0].value == 7
    assert read_bundle(bundle_files(made), "b").revision == made.revision


def refused(opa: Path, folder: Path, entries: str, **files: str) -> PolicyLoadError:
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    with pytest.raises(PolicyLoadError) as error:
        build_policy(DATA + entries, "data.yaml", [folder], opa)
    return error.value


RULE = "  - {name: mine, path: PATH, reads: allowed, effect: deny}\n"
LINE = DATA.count("\n") + 1


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("team.absent", "there is no rule data.team.absent in the given folders; there are data.team.f, data.team.ok"),
        ("team.f", r"is a function \(.*rule\.rego:5\)"),
        ("other.ok", "there is no rule data.other.ok"),
        ("team.test_ok", "there is no rule data.team.test_ok"),
    ],
)
def test_a_path_that_is_no_rule_is_refused_with_its_entry(opa: Path, tmp_path: Path, path: str, problem: str) -> None:
    (tmp_path / "rule_test.rego").write_text("package team\n\ntest_ok if ok\n")
    error = refused(opa, tmp_path, RULE.replace("PATH", path), rule__rego="package team\n\nok := true\n\nf(x) := x\n")
    assert (error.file, error.line, error.field) == ("data.yaml", LINE, "bring[0].path")
    assert re.search(problem, error.problem)


@pytest.mark.parametrize(
    "package", ["lockgate", "lockgate.parameters", "lockgate.glue", "lockgate.mine", "system.authz", "system"]
)
def test_nobody_brings_a_package_of_the_librarys(opa: Path, tmp_path: Path, package: str) -> None:
    error = refused(opa, tmp_path, RULE.replace("PATH", "team.ok"), a__rego=f"\npackage {package}\n\nok := true\n")
    assert (error.file, error.line) == (str(tmp_path / "a.rego"), 2)
    assert "is not yours" in error.problem


@pytest.mark.parametrize("name", ["data.json", "lockgate/data.yaml", "system/data.json"])
def test_nobody_brings_data_of_the_librarys(opa: Path, tmp_path: Path, name: str) -> None:
    """Parameters under somebody else's hand would be roles for everyone."""
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text('{"lockgate": {"parameters": {}}}')
    error = refused(opa, tmp_path, RULE.replace("PATH", "team.ok"), a__rego="package team\n\nok := true\n")
    assert "not yours" in error.problem


def test_a_module_that_is_no_rego_is_refused_with_its_line(opa: Path, tmp_path: Path) -> None:
    error = refused(opa, tmp_path, RULE.replace("PATH", "team.ok"), a__rego="package team\n\nok := {\n")
    assert error.file == str(tmp_path / "a.rego")
    assert error.line is not None
    assert "neither of v1 nor of v0" in error.problem


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("latin.rego", b"package team\n\n# \xe9\nok := true\n", "is not UTF-8 at byte 16"),
        ("huge.rego", b"package team\n\nok := true\n" + b"#" * (1 << 20), "is larger than 1048576 bytes"),
        ("a name.rego", b"package team\n\nok := true\n", "has a name that no bundle can hold"),
    ],
)
def test_a_file_that_cannot_be_taken_is_named(
    opa: Path, tmp_path: Path, name: str, content: bytes, problem: str
) -> None:
    (tmp_path / name).write_bytes(content)
    error = refused(opa, tmp_path, RULE.replace("PATH", "team.ok"))
    assert error.file == str(tmp_path / name)
    assert problem in error.problem


def test_links_to_folders_and_hidden_files_are_left_alone(opa: Path, tmp_path: Path) -> None:
    folder = tmp_path / "rules"
    (folder / ".git").mkdir(parents=True)
    (folder / ".git" / "old.rego").write_text("no Rego")
    (folder / "._rule.rego").write_text("no Rego")
    (folder / "again").symlink_to(folder, target_is_directory=True)
    (folder / "rule.rego").write_text("package team\n\nok := true\n")
    made = build_policy(DATA + RULE.replace("PATH", "team.ok"), "data.yaml", [folder], opa)
    assert [name for name in made.modules if name.startswith("own/")] == ["own/rules/rule.rego"]


def test_two_folders_of_one_name_stay_apart(opa: Path, tmp_path: Path) -> None:
    for number in ("1", "2"):
        (tmp_path / number / "rules").mkdir(parents=True)
        (tmp_path / number / "rules" / "rule.rego").write_text(f"package team{number}\n\nok := true\n")
    folders = [tmp_path / "1" / "rules", tmp_path / "2" / "rules"]
    made = build_policy(DATA + RULE.replace("PATH", "team2.ok"), "data.yaml", folders, opa)
    assert {name for name in made.modules if name.startswith("own/")} == {
        "own/rules/rule.rego",
        "own/rules-2/rule.rego",
    }
    assert decide(made, changes()).allow


def test_a_folder_that_is_not_there_or_holds_nothing_is_refused(opa: Path, tmp_path: Path) -> None:
    assert "holds no Rego" in str(refused(opa, tmp_path, RULE.replace("PATH", "team.ok")))
    with pytest.raises(PolicyLoadError, match="does not exist"):
        build_policy(DATA + SCORE, "data.yaml", [tmp_path / "absent"], opa)
    with pytest.raises(PolicyLoadError, match="name the folder it lies in with --source"):
        build_policy(DATA + SCORE, "data.yaml", [], opa)


@pytest.mark.parametrize(
    "call",
    [
        'http.send({"method": "get", "url": "http://localhost"}).status_code == 200',
        "time.now_ns() > 0",
        "opa.runtime().env.HOME",
        'rand.intn("x", 2) == 0',
        'uuid.rfc4122("x") != ""',
    ],
)
@pytest.mark.parametrize("old", [False, True], ids=["v1", "v0"])
def test_an_impure_function_is_refused_with_file_and_line(opa: Path, tmp_path: Path, call: str, old: bool) -> None:
    text = (
        f"package team\n\n# a line\n\nok {{\n\t{call}\n}}\n"
        if old
        else f"package team\n\n# a line\n\nok if {{\n\t{call}\n}}\n"
    )
    (tmp_path / "impure.rego").write_text(text)
    with pytest.raises(OpaFailed) as error:
        build_policy(DATA + RULE.replace("PATH", "team.ok"), "data.yaml", [tmp_path], opa)
    function = call.partition("(")[0]
    assert f"{tmp_path}/impure.rego:6: rego_type_error: undefined function {function}" in str(error.value)
    assert f"undefined function {function}: not allowed in a policy" in str(error.value)


def test_the_library_alone_refuses_data_that_brings_a_rule() -> None:
    with pytest.raises(PolicyLoadError, match="lockgate policy build") as error:
        library_with(DATA + SCORE, "data.yaml")
    assert (error.value.line, error.value.field) == (LINE, "bring[0]")


@pytest.mark.parametrize(
    "body",
    [
        "count([x | some a in numbers.range(1, 3000); some b in numbers.range(1, 3000); x := a * b])",
        'count(concat("", [s | some _ in numbers.range(1, 9000); s := concat("", [t | some _ in numbers.range(1, 9000); t := "xxxxxxxxxxxxxxxx"])]))',
    ],
    ids=["loops", "explodes"],
)
def test_a_rule_that_loops_or_explodes_denies_and_the_next_decision_is_as_before(
    opa: Path, tmp_path: Path, body: str
) -> None:
    (tmp_path / "big.rego").write_text(f"package team\n\nn := 1 if not input.big\n\nn := {body} if input.big\n")
    made = build_policy(
        DATA + "  - {name: n, path: team.n, reads: score, limit: 1, effect: deny}\n", "d.yaml", [tmp_path], opa
    )
    engine = EmbeddedEngine(made)

    async def ask(big: bool) -> Decision:
        return await engine.decide(Question.PLAN, example_input(Question.PLAN, plan={**example_plan(), "big": big}))

    async def run() -> None:
        assert (await ask(False)).allow
        stopped = await ask(True)
        assert stopped.violations[0].rule in {"lockgate.engine.timeout", "lockgate.engine.memory"}
        assert (await ask(False)).allow
        await engine.close()

    asyncio.run(run())
