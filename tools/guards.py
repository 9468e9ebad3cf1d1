"""Prove that a test guards something: take its guard away in a copy of the tree and see the test fail there; it must not touch
the tree it copies. tests/guards runs this on every tests/guards/*.patch.
"""

import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from forks import Forks

HEADER = re.compile(r"^#\s*test:\s*(.+)$")
CHANGED = re.compile(r"^(?:---|\+\+\+) (?:[ab]/)?([^\t\n]+)")
MAX_SECONDS = 900


class GuardError(Exception):
    """A guard patch is not what it has to be; the message names the patch and what to change."""


@dataclass(frozen=True)
class Guard:
    """One patch: the tests that must fail once it is applied, as pytest node ids, and the files that it changes."""

    name: str
    path: Path
    tests: tuple[str, ...]
    changes: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """What one test function came to: how many of its cases ended which way, and the end of the run's output."""

    passed: int = 0
    failed: int = 0
    errors: int = 0
    tail: str = "(it did not run)"

    @property
    def all_passed(self) -> bool:
        """At least one case ran, and every one passed."""
        return self.passed > 0 and not self.failed and not self.errors

    @property
    def properly_failed(self) -> bool:
        """An assertion failed; an error in set-up or at collection proves nothing."""
        return self.failed > 0 and not self.errors


def read_guard(path: Path) -> Guard:
    """Read a patch's `# test:` lines and the files it changes; raises GuardError."""
    tests: list[str] = []
    changes: list[str] = []
    for line in path.read_text().splitlines():
        if not changes and (header := HEADER.match(line)):
            tests += header.group(1).split()
        if (changed := CHANGED.match(line)) and changed.group(1) != "/dev/null":
            changes.append(changed.group(1))
    if not tests or not all("::" in test and test.startswith("tests/") for test in tests):
        raise GuardError(
            f"{path.name}: its first lines must say `# test: tests/FILE.py::TEST`, the test that must fail"
        )
    if not changes:
        raise GuardError(f"{path.name}: holds no diff")
    if inside := [changed for changed in changes if not changed.startswith(("src/", "policies/"))]:
        raise GuardError(f"{path.name}: changes {inside[0]}; a guard lives under src/ or policies/")
    return Guard(path.stem, path, tuple(tests), tuple(dict.fromkeys(changes)))


def any_marked(root: Path, tests: Iterable[str], marker: str) -> bool:
    """Whether a file of these tests, given as node ids, speaks of a pytest marker."""
    files = {root / test.split("::")[0] for test in tests}
    return any(f"pytest.mark.{marker}" in file.read_text() for file in files if file.exists())


def tree_files(root: Path) -> list[str]:
    """The files git tracks or would track, relative to `root`."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        check=True,
        capture_output=True,
    )
    return sorted({name for name in listed.stdout.decode().split("\0") if name})


def copy_tree(root: Path, copy: Path) -> None:
    """Copy those files as they are now (also uncommitted ones); one that is deleted meanwhile is left out."""
    for name in tree_files(root):
        source, target = root / name, copy / name
        if not source.is_file():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target, follow_symlinks=False)
    # Tests that look for the environment beside the sources find the one that runs this.
    (copy / ".venv").symlink_to(sys.prefix, target_is_directory=True)
    # Compiled once, not for every guard. Checked by the source's hash: a patched file never passes for the other, whatever its time says.
    compiling = (sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "checked-hash", copy / "src")
    subprocess.run(compiling, check=True)


def apply(guard: Guard, copy: Path, *, reverse: bool = False) -> None:
    """Apply the patch to the copy, or take it back; raises GuardError when it does not apply as it stands."""
    env = {**os.environ, "GIT_CEILING_DIRECTORIES": str(copy.parent)}  # the copy is no repository, nor part of one
    direction = ["--reverse"] if reverse else []
    for options in ([*direction, "--check"], direction):
        done = subprocess.run(
            ["git", "apply", *options, str(guard.path)], cwd=copy, env=env, check=False, capture_output=True, text=True
        )
        if done.returncode:
            raise GuardError(f"{guard.path.name} no longer applies; make it again.\n{done.stderr}")


def environment(copy: Path) -> dict[str, str]:
    """The environment in which the copy's sources, and no others, are `lockgate`."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return {**env, "PYTHONPATH": str(copy / "src")}


def imported_from(copy: Path) -> Path:
    """The file that `import lockgate` finds for a test of the copy: the proof that the copy is what is tested."""
    program = "import lockgate; print(lockgate.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=copy, env=environment(copy), check=True, capture_output=True, text=True
    )
    return Path(done.stdout.strip())


def run_tests(copy: Path, forks: Forks, *selected: str) -> dict[str, Outcome]:
    """Run files or node ids on the copy in a process of their own; the outcome of each test function by node id, its cases counted.

    `forks` is the copy's own, in `environment(copy)`.
    """
    report, output = copy / "junit.xml", copy / "output.txt"
    report.unlink(missing_ok=True)
    asked = ("pytest", "-p", "no:cacheprovider", "-q", f"--junitxml={report}", *selected)
    forks.run(*asked, output=output, seconds=MAX_SECONDS)
    counted = case_counts(report) if report.exists() else {}
    tail = output.read_text(errors="replace")[-3000:]
    return {
        node: Outcome(counts["passed"], counts["failure"], counts["error"], tail) for node, counts in counted.items()
    }


def case_counts(report: Path) -> dict[str, Counter[str]]:
    """How many cases of each test function passed, failed, erred or were skipped, by node id; each case also by its own."""
    counts: dict[str, Counter[str]] = {}
    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314  (our own pytest wrote it a moment ago)
        kinds = {child.tag for child in case} & {"failure", "error", "skipped"}
        node = node_id(case.get("classname", ""), case.get("name", ""))
        for named in {node, node.split("[")[0]}:
            counts.setdefault(named, Counter()).update(kinds or {"passed"})
    return counts


def node_id(classname: str, name: str) -> str:
    """A test's node id from what a JUnit report says of it: the module's dotted path with its classes, and the test's name."""
    modules = classname.split(".")
    classes = [modules.pop() for _ in range(len(modules)) if modules[-1][:1].isupper()]
    return "::".join(["/".join(modules) + ".py", *reversed(classes), name])
