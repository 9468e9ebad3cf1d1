"""`lockgate policy test`: folders of one's own with the library at hand, and the lines that no test reaches, by file and line."""

from pathlib import Path

import pytest

from lockgate.policy.coverage import percent, read_coverage
from lockgate.policy.port import PolicyLoadError
from lockgate.policy.testing import RegoRun, run_policy_tests

pytestmark = pytest.mark.opa

POLICIES = Path(__file__).parents[3] / "policies"
RULE = """package team

import data.lockgate.selectors

deny contains "never" if {
	input.never
	input.ever
}

deny contains "not here" if not selectors.selects(input.wanted, input.target)
"""
TEST = """package team_test

import data.team

test_a_target_that_is_not_wanted if {
	wanted := {"fields": {"name": {"db": true}}, "labels": null, "except": null}
	team.deny == {"not here"} with input as {"wanted": wanted, "target": {"name": "web"}}
}
"""
OLD = 'package old\n\ndeny[msg] {\n  input.x\n  msg := "x"\n}\n'
OLD_TEST = 'package old\n\ntest_x { deny["x"] with input as {"x": true} }\n'


def run(opa: Path, folder: Path, **files: str) -> RegoRun:
    for name, text in files.items():
        (folder / f"{name}.rego").write_text(text)
    return run_policy_tests([folder], opa, coverage=True)


def test_a_folder_of_ones_own_may_import_the_library(opa: Path, tmp_path: Path) -> None:
    assert run(opa, tmp_path, rule=RULE, rule_test=TEST).failed == ()


def test_what_no_test_reaches_is_named_by_file_and_lines(opa: Path, tmp_path: Path) -> None:
    (reached,) = run(opa, tmp_path, rule=RULE, rule_test=TEST).coverage or ()
    assert reached.places == [f"{tmp_path}/rule.rego:6-7"] or reached.places == [f"{tmp_path}/rule.rego:5-7"]
    assert 0 < reached.percent < 100


def test_rego_of_both_versions_and_several_folders_are_tested_together(opa: Path, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    (tmp_path / "old" / "deny.rego").write_text(OLD)
    (tmp_path / "old" / "deny_test.rego").write_text(OLD_TEST)
    (tmp_path / "new" / "rule.rego").write_text(RULE)
    (tmp_path / "new" / "rule_test.rego").write_text(TEST)
    done = run_policy_tests([tmp_path / "old", tmp_path / "new"], opa, coverage=True)
    assert [test.name for test in done.failed] == []
    assert len(done.tests) == 2
    assert {each.file: each.percent for each in done.coverage or ()}[str(tmp_path / "old" / "deny.rego")] == 100.0


def test_a_module_that_no_test_touches_counts_as_not_reached(opa: Path, tmp_path: Path) -> None:
    (tmp_path / "untouched.rego").write_text("package untouched\n\na := 1 if input.x\n")
    found = {each.file: each for each in run(opa, tmp_path, rule=RULE, rule_test=TEST).coverage or ()}
    untouched = found[str(tmp_path / "untouched.rego")]
    assert untouched.covered == 0
    assert untouched.places == [f"{tmp_path}/untouched.rego:3"]


def test_a_failing_test_is_named_with_the_authors_file_and_nothing_is_said_of_coverage(
    opa: Path, tmp_path: Path
) -> None:
    done = run(opa, tmp_path, rule=RULE, rule_test="package team_test\n\ntest_no if false\n")
    assert [test.problem for test in done.failed] == [f"{tmp_path}/rule_test.rego:3: failed"]
    assert done.coverage is None


def test_the_library_is_tested_alone(opa: Path, tmp_path: Path) -> None:
    (tmp_path / "a.rego").write_text(RULE)
    with pytest.raises(PolicyLoadError, match="tested alone"):
        run_policy_tests([POLICIES, tmp_path], opa)


def test_a_line_that_was_reached_in_part_is_reached_and_nothing_is_rounded_up() -> None:
    def at(*rows: int) -> list[dict[str, dict[str, int]]]:
        return [{"start": {"row": row}, "end": {"row": row}} for row in rows]

    report = {"files": {"own/a.rego": {"covered": at(*range(1, 2000)), "not_covered": at(3, 5, 2001, 2002, 2004)}}}
    (found,) = read_coverage(report, {"own/a.rego": "a.rego"})
    assert found.places == ["a.rego:2001-2002", "a.rego:2004"]
    assert percent([found]) == 99.8
    assert percent([]) == 100.0
