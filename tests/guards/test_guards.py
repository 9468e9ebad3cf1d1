"""Every guard under tests/guards/*.patch: with it the named tests pass, without it each of them fails.

A patch opens with `# test: tests/invariants/test_invariant_NN_….py::test_name` (any number of such lines), then the diff.
"""

from pathlib import Path

import pytest

import guards

HERE = Path(__file__).resolve().parent
PATCHES = sorted(HERE.glob("*.patch"))
INVARIANTS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 14)

pytestmark = pytest.mark.guards


@pytest.fixture(scope="session")
def copy(root, tmp_path_factory):
    """One copy of the tree for all guards; each takes its patch back."""
    place = tmp_path_factory.mktemp("guards") / "tree"
    guards.copy_tree(root, place)
    assert guards.imported_from(place).is_relative_to(place)
    return place


@pytest.fixture(scope="session")
def control(copy):
    """The outcome of every named test on the copy as it is, run once."""
    return guards.run_tests(copy, *sorted({test for path in PATCHES for test in guards.read_guard(path).tests}))


@pytest.mark.parametrize("path", PATCHES, ids=lambda path: path.stem)
def test_without_its_guard_the_test_fails(copy, control, path):
    guard = guards.read_guard(path)
    nothing = guards.Outcome()
    for node_id in guard.tests:
        with_guard = control.get(node_id, nothing)
        assert with_guard.all_passed, f"with the guard, {node_id} must pass:\n{with_guard.tail}"
    guards.apply(guard, copy)
    try:
        found = guards.run_tests(copy, *guard.tests)
    finally:
        guards.apply(guard, copy, reverse=True)
    for node_id in guard.tests:
        without = found.get(node_id, nothing)
        assert without.properly_failed, f"without the guard, {node_id} must fail by an assertion:\n{without.tail}"


@pytest.mark.parametrize("number", INVARIANTS)
def test_every_invariant_has_a_test_and_a_guard(root, number):
    files = sorted((root / "tests" / "invariants").glob(f"test_invariant_{number:02}_*.py"))
    assert files, f"no tests/invariants/test_invariant_{number:02}_*.py"
    guarded = {test.split("::")[0] for path in PATCHES for test in guards.read_guard(path).tests}
    assert [file.name for file in files if str(file.relative_to(root)) not in guarded] == []


def test_every_file_of_invariants_has_a_guard(root):
    files = {str(file.relative_to(root)) for file in (root / "tests" / "invariants").glob("test_*.py")}
    guarded = {test.split("::")[0] for path in PATCHES for test in guards.read_guard(path).tests}
    assert files - guarded == set()
