"""`lockgate policy check` and `policy test`: what a policy's author runs before anyone loads it. It never decides."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lockgate.policy.compile import CAPABILITIES_NAME
from lockgate.policy.opa import OpaFailed, find_opa, run_opa


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
    """`opa check --strict` of the bundle folder under its capabilities: no clock, network or randomness.

    Raises OpaMissing, or OpaFailed with every error's file and line.
    """
    arguments = ["check", "--strict", "--bundle", str(source)]
    capabilities = source / CAPABILITIES_NAME
    if capabilities.exists():
        arguments += ["--capabilities", str(capabilities)]
    run_opa(opa or find_opa(), arguments)


def run_policy_tests(source: Path, opa: Path | None = None) -> list[RegoTest]:
    """`opa test` of the bundle folder: every test, passed or not. Raises OpaMissing; OpaFailed if nothing could run."""
    said = run_opa(opa or find_opa(), ["test", "--bundle", str(source), "--format", "json"], accept=(0, 2))
    try:
        results: list[dict[str, Any]] = json.loads(said) or []
    except json.JSONDecodeError:
        raise OpaFailed(said.strip() or "opa test said nothing") from None
    if not results:
        raise OpaFailed(f"there is no test under {source}: a policy without a test is not known to deny anything")
    return [RegoTest(result["package"], result["name"], _problem(result)) for result in results]


def _problem(result: dict[str, Any]) -> str:
    where = f"{result['location']['file']}:{result['location']['row']}"
    if result.get("error"):
        return f"{where}: {json.dumps(result['error'])[:500]}"
    if result.get("fail"):
        return f"{where}: failed"
    if result.get("skip"):
        return f"{where}: skipped"
    return ""
