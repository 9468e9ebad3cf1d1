"""An import that takes the name of a rule is refused: OPA accepts it, and what looked at the rule looks at something else from then on."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests.ownrules import DATA

from lockgate.policy.building import build_policy
from lockgate.policy.opa import run_opa
from lockgate.policy.own import read_own
from lockgate.policy.port import PolicyLoadError
from lockgate.policy.testing import check_policies, run_policy_tests

pytestmark = pytest.mark.opa

RULE = """package team

violations contains "no owner" if not input.owner

deny contains reason if some reason in violations
"""
SHADOWED = RULE.replace("package team\n", "package team\n\nimport data.x.violations\n")


def refused(opa: Path, folder: Path, **files: str) -> PolicyLoadError:
    for name, text in files.items():
        (folder / f"{name}.rego").write_text(text)
    with pytest.raises(PolicyLoadError) as error:
        read_own([folder], opa)
    return error.value


def denied(opa: Path, folder: Path, text: str) -> list[str]:
    """What OPA itself makes of `data.team.deny` for an empty input, after its own strict check."""
    (folder / "rule.rego").write_text(text)
    run_opa(opa, ["check", "--strict", "."], folder=folder)
    said = run_opa(opa, ["eval", "--format", "json", "--data", ".", "data.team.deny"], folder=folder)
    reasons: list[str] = json.loads(said)["result"][0]["expressions"][0]["value"]
    return reasons


def test_opa_takes_such_an_import_without_a_word_and_the_rule_denies_nothing_any_more(
    opa: Path, tmp_path: Path
) -> None:
    """The reason for all of this. Should OPA come to refuse it, this test says so."""
    assert denied(opa, tmp_path, RULE) == ["no owner"]
    assert denied(opa, tmp_path, SHADOWED) == []


def test_opa_takes_an_import_for_its_own_operators(opa: Path, tmp_path: Path) -> None:
    rule = 'package team\n\ndeny contains "three" if 3 > 2\n'
    (tmp_path / "other.rego").write_text("package x\n\ngt(_, _) := false\n")
    assert denied(opa, tmp_path, rule) == ["three"]
    assert denied(opa, tmp_path, rule.replace("team\n", "team\n\nimport data.x.gt\n")) == []


def test_an_import_of_a_rules_name_is_refused_with_file_and_line(opa: Path, tmp_path: Path) -> None:
    error = refused(opa, tmp_path, rule=SHADOWED)
    assert (error.file, error.line) == (str(tmp_path / "rule.rego"), 3)
    assert f"takes the name of the rule `violations` of this package ({tmp_path}/rule.rego:5)" in error.problem
    assert "import data.x.violations as x_violations" in error.problem


@pytest.mark.parametrize(
    ("line", "taken"),
    [
        ("import data.x.deny", r"the rule `deny` of this package \(.*rule\.rego:7\)"),
        ("import data.x as violations", r"the rule `violations`"),
        ("import input.violations", r"the rule `violations`"),
        ("import data.lockgate.plan.elsewhere", r"the rule `elsewhere` of this package \(.*other\.rego:3\)"),
        ("import data.x.allowed", r"the function `allowed`"),
        ("import data.x.nested", r"the rule `nested`"),
        ("import data.x.input", r"`input` itself"),
        ("import data.x.data", r"`data` itself"),
        ("import data.x.count", r"the built-in `count`"),
        ("import data.x.gt", r"the built-in `gt`"),
        ("import data.x as internal", r"the built-in `internal`"),
    ],
)
def test_every_name_that_means_something_in_the_package_is_its_own(
    opa: Path, tmp_path: Path, line: str, taken: str
) -> None:
    other = "package team\n\nelsewhere := 1\n\nallowed(x) := x\n\nnested.deep := 1\n"
    error = refused(opa, tmp_path, rule=RULE.replace("package team\n", f"package team\n\n{line}\n"), other=other)
    assert (error.file, error.line) == (str(tmp_path / "rule.rego"), 3)
    assert re.search(taken, error.problem), error.problem


def test_two_imports_of_one_name_are_refused_where_old_rego_lets_them(opa: Path, tmp_path: Path) -> None:
    text = "package team\n\nimport data.x.limits\nimport data.y.limits\n\ndeny[r] { r := limits[_] }\n"
    error = refused(opa, tmp_path, rule=text)
    assert error.line == 4
    assert "the import of data.x.limits in line 3" in error.problem


def test_imports_that_hide_nothing_pass(opa: Path, tmp_path: Path) -> None:
    head = "import rego.v1\nimport input\nimport input as tfplan\nimport data.x.violations as others\nimport data.other.allowed\n"
    (tmp_path / "rule.rego").write_text(RULE.replace("package team\n", f"package team\n\n{head}"))
    (tmp_path / "other.rego").write_text("package other\n\nallowed := 1\n\ntfplan := 1\n")
    # Exactly the rule that has the name; and what tests alone define is no name of the modules that they test.
    tests = "package team\n\nimport data.team.deny\n\nothers := 1\n\ntest_deny if deny\n"
    (tmp_path / "rule_test.rego").write_text(tests)
    assert len(read_own([tmp_path], opa).files) == 3


def test_a_test_that_looks_at_something_else_than_the_rule_is_refused(opa: Path, tmp_path: Path) -> None:
    tests = 'package team\n\nimport data.x.deny\n\ntest_deny if deny["no owner"]\n'
    (tmp_path / "rule.rego").write_text(RULE)
    (tmp_path / "rule_test.rego").write_text(tests)
    with pytest.raises(PolicyLoadError, match=r"rule_test\.rego:3: .*the rule `deny`"):
        run_policy_tests([tmp_path], opa)


def test_no_bundle_is_built_with_one(opa: Path, tmp_path: Path) -> None:
    (tmp_path / "rule.rego").write_text(SHADOWED)
    entry = "  - {name: mine, path: team.deny, reads: denials, effect: deny}\n"
    with pytest.raises(PolicyLoadError, match=r"rule\.rego:3: the import of data\.x\.violations takes the name"):
        build_policy(DATA + entry, "data.yaml", [tmp_path], opa)


def test_the_check_of_the_library_refuses_one_too(opa: Path, tmp_path: Path) -> None:
    (tmp_path / "rule.rego").write_text(RULE)
    check_policies(tmp_path, opa)
    (tmp_path / "rule.rego").write_text(SHADOWED)
    with pytest.raises(PolicyLoadError, match=r"rule\.rego:3: the import of data\.x\.violations takes the name"):
        check_policies(tmp_path, opa)
