"""The machinery behind tests/guards, on a tree small enough to read."""

import os
import subprocess

import pytest

import guards
from forks import Forks

SOURCE = "def allowed(asked):\n    if not asked:\n        return False\n    return True\n"
TESTS = """
import pytest
from lockgate import allowed

@pytest.fixture
def broken():
    raise RuntimeError

def test_refuses_nothing(): assert not allowed("")
def test_is_blind(): assert allowed("x")
def test_cannot_be_set_up(broken): assert allowed("x")

@pytest.mark.parametrize("asked", ["", "x"])
def test_of_cases(asked): assert allowed(asked) is bool(asked)
"""
PATCH = """# A guard taken away.
# test: tests/test_it.py::{test}
--- a/src/lockgate/__init__.py
+++ b/src/lockgate/__init__.py
@@ -1,4 +1,2 @@
 def allowed(asked):
-    if not asked:
-        return False
     return True
"""


@pytest.fixture
def tree(tmp_path):
    """A repository with one guard and four tests, of which two notice when the guard is gone."""
    root = tmp_path / "tree"
    for name, text in {
        "src/lockgate/__init__.py": SOURCE,
        "tests/test_it.py": TESTS,
        "pyproject.toml": "[tool.pytest.ini_options]\naddopts = '--import-mode=importlib'\n",
        ".gitignore": "ignored\n",
        "ignored": "",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    return root


@pytest.fixture
def copy(tree, tmp_path):
    guards.copy_tree(tree, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture
def run_tests(copy):
    """Runs tests of the copy."""
    forks = Forks(copy, guards.environment(copy))
    yield lambda *selected: guards.run_tests(copy, forks, *selected)
    forks.close()


@pytest.fixture
def outcome(run_tests):
    """What one test came to; one that is not there comes to nothing."""
    return lambda node_id: run_tests(node_id).get(node_id, guards.Outcome())


def patch(tmp_path, test="test_refuses_nothing", text=PATCH):
    path = tmp_path / "sample.patch"
    path.write_text(text.format(test=test))
    return path


def test_the_copy_holds_what_git_would_and_is_what_gets_imported(copy):
    assert not (copy / "ignored").exists()
    assert guards.imported_from(copy) == copy / "src" / "lockgate" / "__init__.py"


def test_a_guard_that_is_tested_makes_its_test_fail(copy, tmp_path, outcome):
    guard = guards.read_guard(patch(tmp_path))
    assert outcome(guard.tests[0]).all_passed
    guards.apply(guard, copy)
    assert outcome(guard.tests[0]).properly_failed


def test_a_patch_taken_back_leaves_the_copy_as_it_was(copy, tmp_path, outcome):
    guard = guards.read_guard(patch(tmp_path))
    guards.apply(guard, copy)
    assert outcome(guard.tests[0]).properly_failed
    guards.apply(guard, copy, reverse=True)
    assert (copy / "src/lockgate/__init__.py").read_text() == SOURCE
    assert outcome(guard.tests[0]).all_passed
    with pytest.raises(guards.GuardError, match="no longer applies"):
        guards.apply(guard, copy, reverse=True)


def test_each_test_of_one_run_is_told_apart_and_its_cases_are_counted(copy, tmp_path, run_tests):
    guards.apply(guards.read_guard(patch(tmp_path)), copy)
    names = ("test_refuses_nothing", "test_is_blind", "test_cannot_be_set_up", "test_of_cases")
    found = run_tests(*(f"tests/test_it.py::{name}" for name in names))
    counted = {node.split("::")[1]: (one.passed, one.failed, one.errors) for node, one in found.items()}
    expected = dict(zip(names, [(0, 1, 0), (1, 0, 0), (0, 0, 1), (1, 1, 0)], strict=True))
    assert {name: counted[name] for name in names} == expected
    cases = {node: one for node, one in counted.items() if node.startswith("test_of_cases[")}
    assert sorted(cases.values()) == [(0, 1, 0), (1, 0, 0)], "each case also by its own name"


@pytest.mark.parametrize(
    ("classname", "name", "node"),
    [
        ("tests.unit.test_it", "test_a", "tests/unit/test_it.py::test_a"),
        ("tests.unit.test_it", "test_a[one]", "tests/unit/test_it.py::test_a[one]"),
        ("tests.unit.test_it.TestOf.TestIn", "test_a", "tests/unit/test_it.py::TestOf::TestIn::test_a"),
    ],
)
def test_a_node_id_is_what_pytest_takes(classname, name, node):
    assert guards.node_id(classname, name) == node


def test_a_patched_file_is_what_runs_even_when_its_time_and_size_are_those_of_the_other(copy, tmp_path, outcome):
    source = copy / "src/lockgate/__init__.py"
    before, node = source.stat(), "tests/test_it.py::test_refuses_nothing"
    assert outcome(node).all_passed
    source.write_text(SOURCE.replace("return False", "return  True"))
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert source.stat().st_size == before.st_size
    assert outcome(node).properly_failed


def test_a_marker_is_seen_in_the_files_of_the_tests_alone(tree):
    (tree / "tests" / "test_other.py").write_text("pytestmark = pytest.mark.kubernetes\n")
    assert guards.any_marked(tree, ["tests/test_other.py::test_x"], "kubernetes")
    assert not guards.any_marked(tree, ["tests/test_it.py::test_is_blind"], "kubernetes")
    assert not guards.any_marked(tree, ["tests/test_absent.py::test_x"], "kubernetes")


def test_the_tree_itself_is_left_alone(tree, copy, tmp_path):
    guards.apply(guards.read_guard(patch(tmp_path)), copy)
    assert (tree / "src/lockgate/__init__.py").read_text() == SOURCE


def test_a_test_that_does_not_notice_is_told_apart(copy, tmp_path, outcome):
    guard = guards.read_guard(patch(tmp_path, "test_is_blind"))
    guards.apply(guard, copy)
    assert not outcome(guard.tests[0]).properly_failed


@pytest.mark.parametrize("test", ["test_cannot_be_set_up", "test_that_is_not_there"])
def test_an_error_or_nothing_collected_is_neither_a_pass_nor_a_proof(copy, test, outcome):
    found = outcome(f"tests/test_it.py::{test}")
    assert not found.all_passed
    assert not found.properly_failed


def test_a_patch_that_no_longer_applies_is_refused(copy, tmp_path):
    guard = guards.read_guard(patch(tmp_path))
    (copy / "src/lockgate/__init__.py").write_text("def allowed(asked):\n    return bool(asked)\n")
    with pytest.raises(guards.GuardError, match="no longer applies"):
        guards.apply(guard, copy)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (PATCH.replace("# test:", "# tests"), "first lines must say"),
        (PATCH.replace("tests/test_it.py::{test}", "somewhere"), "first lines must say"),
        ("# test: tests/test_it.py::test_x\n", "holds no diff"),
        (PATCH.replace("src/lockgate", "tests"), "a guard lives under"),
    ],
)
def test_a_patch_that_proves_nothing_is_refused(tmp_path, text, told):
    with pytest.raises(guards.GuardError, match=told):
        guards.read_guard(patch(tmp_path, text=text))


def test_a_run_that_takes_too_long_is_killed_and_the_next_one_is_not_hurt(copy, tmp_path):
    (copy / "stuck.py").write_text("import signal; print('here', flush=True); signal.pause()")
    forks = Forks(copy, guards.environment(copy))
    try:
        assert forks.run("stuck", output=tmp_path / "said", seconds=1) == -9
        assert (tmp_path / "said").read_text() == "here\n"
        (copy / "stuck.py").write_text("raise SystemExit(7)")
        assert forks.run("stuck", output=tmp_path / "said", seconds=60) == 7
    finally:
        forks.close()


def test_what_forks_never_has_what_is_tested(copy, tmp_path):
    """Else a run would not see what a patch changed."""
    (copy / "src" / "sitecustomize.py").write_text("import lockgate")
    forks = Forks(copy, guards.environment(copy))
    with pytest.raises(RuntimeError, match="ended with 1"):
        forks.run("pytest", "--version", output=tmp_path / "said", seconds=60)
    forks.close()
