"""The score of the conformance run is what the suite's own checks say, and short of all is a failure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.conformance.__main__ import SCORED, Score, complaints, required, verdict_of

ALL = tuple(f"scenario-{number}" for number in range(SCORED["2025-11-25"]))


def ran(out: Path, scenario: str, *statuses: str) -> None:
    folder = out / f"server-{scenario}-2026-11-26T20-35-28-467Z"
    folder.mkdir()
    checks = [{"id": f"check-{status}", "status": status, "errorMessage": "why"} for status in statuses]
    (folder / "checks.json").write_text(json.dumps(checks))


@pytest.mark.parametrize(
    ("statuses", "verdict"),
    [
        (("SUCCESS", "INFO", "SKIPPED"), "passed"),
        (("SUCCESS", "WARNING"), "passed"),
        (("SUCCESS", "FAILURE"), "failed"),
        ((), "failed"),
    ],
)
def test_a_scenario_passes_when_it_checked_something_and_nothing_failed(
    tmp_path: Path, statuses: tuple[str, ...], verdict: str
) -> None:
    ran(tmp_path, "tools-list", *statuses)
    assert verdict_of(tmp_path, "tools-list") == verdict


def test_a_scenario_that_did_not_run_has_not_passed(tmp_path: Path) -> None:
    ran(tmp_path, "tools-list-longer", "SUCCESS")
    assert verdict_of(tmp_path, "tools-list") == "not run"


def test_warnings_are_told_though_they_do_not_count(tmp_path: Path) -> None:
    ran(tmp_path, "ping", "WARNING", "SUCCESS")
    assert complaints(tmp_path, "ping") == ["    warning check-WARNING: why"]


def test_only_all_of_them_are_enough() -> None:
    assert Score("2025-11-25", ALL, (), "none", 0).whole
    assert not Score("2025-11-25", ALL[1:], (ALL[0],), "none", 0).whole
    assert not Score("2025-11-25", ALL[1:], (), "none", 0).whole, "the suite scores fewer than it did"
    assert not Score("2025-11-25", ALL, (), "none", 1).whole, "the suite itself says otherwise"


def test_what_is_scored_is_read_from_the_suites_own_requirements(tmp_path: Path) -> None:
    folder = tmp_path / "node_modules/@modelcontextprotocol/conformance/requirements"
    folder.mkdir(parents=True)
    (folder / "2025-11-25.yaml").write_text("# words\nserver:\n  - ping\n  - tools-list\n\nclient:\n  - initialize\n")
    assert required(str(tmp_path / "conformance"), "2025-11-25") == ("ping", "tools-list")
