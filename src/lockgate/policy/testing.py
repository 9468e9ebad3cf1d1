"""`lockgate policy check` and `policy test`: what a policy's author runs before anyone loads it. It never decides."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import as_file
from pathlib import Path
from typing import Any

from lockgate.policy.bundle import LIBRARY, ROOT
from lockgate.policy.compile import CAPABILITIES_NAME, rego_modules
from lockgate.policy.coverage import FileCoverage, read_coverage
from lockgate.policy.imports import require_own_names
from lockgate.policy.opa import OpaFailed, find_opa, run_opa
from lockgate.policy.own import read_own
from lockgate.policy.port import PolicyLoadError
from lockgate.policy.purity import explained
from lockgate.policy.staging import staged
from lockgate.policy.syntax import read_syntax

RUN_TESTS = ("test", "--bundle", ".", "--timeout", "60s")
"""OPA gives a test five seconds by itself, which a busy machine may need for one of many cases."""


@dataclass(frozen=True, slots=True)
class RegoTest:
    """One Rego test; `problem` is empty if it passed."""

    package: str
    name: str
    problem: str

    @property
    def passed(self) -> bool:
        return not self.problem


def check_policies(source: Path, opa: Path | None = None) -> None:
    """`opa check --strict` of the bundle folder under its capabilities, or those that are shipped: no clock, network or randomness; and no import hides a rule.

    Raises OpaMissing; OpaFailed with every error's file and line, and why a built-in may not be used; PolicyLoadError with an import's file and line.
    """
    opa, own = opa or find_opa(), source / CAPABILITIES_NAME
    with as_file(LIBRARY.joinpath(CAPABILITIES_NAME)) as shipped:
        capabilities = own if own.exists() else shipped
        try:
            run_opa(opa, ["check", "--strict", "--bundle", str(source), "--capabilities", str(capabilities)])
        except OpaFailed as failed:
            raise OpaFailed(explained(str(failed))) from None
    require_own_names({str(path): read_syntax(path, opa) for path in sorted(source.rglob("*.rego"))})


@dataclass(frozen=True, slots=True)
class RegoRun:
    """Every test of some folders, passed or not; `coverage` is of the modules that are no tests, None where it was not asked for or tests failed."""

    tests: tuple[RegoTest, ...]
    coverage: tuple[FileCoverage, ...] | None = None

    @property
    def failed(self) -> tuple[RegoTest, ...]:
        """Those that did not pass."""
        return tuple(test for test in self.tests if not test.passed)


def run_policy_tests(folders: Sequence[Path], opa: Path | None = None, *, coverage: bool = False) -> RegoRun:
    """`opa test` of the library's own folder, or of folders of one's own, which may import the library.

    Raises OpaMissing; PolicyLoadError with file and line; OpaFailed if nothing could run.
    """
    opa = opa or find_opa()
    if any(is_library(folder) for folder in folders):
        if len(folders) != 1:
            raise PolicyLoadError(
                str(folders[0]),
                "a folder of the library is tested alone: its packages are the same as those that are shipped",
            )
        names = {name: str(folders[0] / name) for name in rego_modules(folders[0])}
        return _run(folders[0].absolute(), names, opa, lambda said: said, coverage=coverage)
    own = read_own(folders, opa)
    names = {file.place: file.file for file in own.files if not file.is_test}
    with staged(opa, own, {}, tests=True) as folder:
        return _run(folder, names, opa, own.named, coverage=coverage)


def is_library(folder: Path) -> bool:
    """Whether a folder holds the library itself: a bundle whose roots are the library's."""
    try:
        return ROOT in json.loads((folder / ".manifest").read_text(encoding="utf-8"))["roots"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _run(folder: Path, names: Mapping[str, str], opa: Path, named: Callable[[str], str], *, coverage: bool) -> RegoRun:
    said = run_opa(opa, [*RUN_TESTS, "--format", "json"], folder=folder, accept=(0, 2))
    try:
        results: list[dict[str, Any]] = json.loads(said) or []
    except json.JSONDecodeError:
        raise OpaFailed(named(said.strip()) or "opa test said nothing") from None
    if not results:
        raise OpaFailed(
            f"there is no test of {', '.join(names.values()) or 'anything'}: a policy without a test is not known to deny anything"
        )
    tests = tuple(RegoTest(result["package"], result["name"], named(_problem(result))) for result in results)
    if not coverage or not all(test.passed for test in tests):
        return RegoRun(tests)
    report = json.loads(run_opa(opa, [*RUN_TESTS, "--coverage", "--format", "json"], folder=folder))
    return RegoRun(tests, read_coverage(report, names))


def _problem(result: dict[str, Any]) -> str:
    where = f"{result['location']['file']}:{result['location']['row']}"
    if result.get("error"):
        return f"{where}: {json.dumps(result['error'])[:500]}"
    if result.get("fail"):
        return f"{where}: failed"
    if result.get("skip"):
        return f"{where}: skipped"
    return ""
