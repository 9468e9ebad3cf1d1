"""Every guard under tests/guards/*.patch: with it the named tests pass, without it each of them fails.

A patch opens with `# test: tests/invariants/test_invariant_NN_….py::test_name` (any number of such lines), then the diff.
"""

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import pytest

import guards
from forks import Forks

HERE = Path(__file__).resolve().parent
BATCH = 20
PATCHES = sorted(HERE.glob("*.patch"))
INVARIANTS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 14)

pytestmark = pytest.mark.guards


@dataclass(frozen=True)
class Copy:
    """A copy of the tree, and the process that runs its tests."""

    place: Path
    forks: Forks


@pytest.fixture(scope="session")
def copies(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleQueue[Copy]]:
    """As many copies of the tree as there are processors; whoever takes one has it alone, and gives it back as it was."""
    free: SimpleQueue[Copy] = SimpleQueue()
    made = []
    for number in range(os.cpu_count() or 1):
        place = tmp_path_factory.mktemp("guards") / f"tree-{number}"
        guards.copy_tree(root, place)
        assert guards.imported_from(place).is_relative_to(place)
        made.append(Copy(place, Forks(place, guards.environment(place))))
        free.put(made[-1])
    yield free
    for copy in made:
        copy.forks.close()


@pytest.fixture(scope="session")
def outcomes(root, copies, request):
    """Each collected guard's tests, run without it in a copy: as many guards at a time as there are copies.

    In batches, each begun by its control: nobody waits for more than a batch, and two controls run side by side.
    """
    chosen = sorted({item.callspec.params["path"] for item in request.session.items if "outcomes" in item.fixturenames})
    if guards.any_marked(root, named_tests(chosen), "kubernetes"):
        request.getfixturevalue("cluster")  # one for all: else each run starts one, and ends it while another uses it
    made = Outcomes({}, {})
    with ThreadPoolExecutor(copies.qsize()) as pool:
        for at in range(0, len(chosen), BATCH):
            batch = chosen[at : at + BATCH]
            control = pool.submit(on_a_copy, copies, named_tests(batch))
            for path in batch:
                made.control[path] = control
                made.without[path] = pool.submit(on_a_copy, copies, guards.read_guard(path).tests, path)
        yield made
        for waiting in made.without.values():
            waiting.cancel()


@dataclass(frozen=True)
class Outcomes:
    """What tests came to, by guard: `control` with every guard in its place, `without` with this one taken away."""

    control: dict[Path, Future]
    without: dict[Path, Future]


def of(running: Future, node_id: str) -> guards.Outcome:
    return running.result().get(node_id, guards.Outcome())


def named_tests(paths):
    return sorted({test for path in paths for test in guards.read_guard(path).tests})


def on_a_copy(copies, tests, path=None):
    """The tests' outcomes on a copy, with the guard of `path` taken away."""
    copy = copies.get()
    try:
        if path is None:
            return guards.run_tests(copy.place, copy.forks, *tests)
        guard = guards.read_guard(path)
        guards.apply(guard, copy.place)
        try:
            return guards.run_tests(copy.place, copy.forks, *tests)
        finally:
            guards.apply(guard, copy.place, reverse=True)
    finally:
        copies.put(copy)


@pytest.mark.parametrize("path", PATCHES, ids=lambda path: path.stem)
def test_without_its_guard_the_test_fails(outcomes, path):
    for node_id in guards.read_guard(path).tests:
        with_guard = of(outcomes.control[path], node_id)
        assert with_guard.all_passed, f"with the guard, {node_id} must pass:\n{with_guard.tail}"
        without = of(outcomes.without[path], node_id)
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
