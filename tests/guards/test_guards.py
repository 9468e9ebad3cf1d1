"""Every guard under tests/guards/*.patch: with it the named tests pass, without it each of them fails.

A patch opens with `# test: tests/invariants/test_invariant_NN_….py::test_name` (any number of such lines), then the diff.
"""

from pathlib import Path

import pytest

import guards

HERE = Path(__file__).resolve().parent
PATCHES = sorted(HERE.glob("*.patch"))
INVARIANTS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 14)

pytestmark = pytest.mark.guards


@pytest.fixture(scope="session")
def control(root, tmp_path_factory):
    """The outcome of a node id on an unpatched copy, run once for all the guards that name it."""
    copy = tmp_path_factory.mktemp("control") / "tree"
    guards.copy_tree(root, copy)
    assert guards.imported_from(copy).is_relative_to(copy)
    outcomes = {}

    def outcome(node_id):
        if node_id not in outcomes:
            outcomes[node_id] = guards.run_test(copy, node_id)
        return outcomes[node_id]

    return outcome


@pytest.mark.parametrize("path", PATCHES, ids=lambda path: path.stem)
def test_without_its_guard_the_test_fails(root, tmp_path, control, path):
    guard = guards.read_guard(path)
    copy = tmp_path / "tree"
    guards.copy_tree(root, copy)
    guards.apply(guard, copy)
    assert guards.imported_from(copy).is_relative_to(copy)
    for node_id in guard.tests:
        with_guard = control(node_id)
        assert with_guard.all_passed, f"with the guard, {node_id} must pass:\n{with_guard.tail}"
        without = guards.run_test(copy, node_id)
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
