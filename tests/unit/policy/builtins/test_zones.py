"""A machine without the zone that a policy needs: a denial by its own name, counted as an alarm, and gone once the zone is there."""

from __future__ import annotations

import zoneinfo
from pathlib import Path

import pytest

from lockgate.contract.decision import Question
from lockgate.gateway.observing import Observer
from lockgate.policy.builtins import ZoneMissing, call_builtin, zone
from lockgate.policy.bundle import library_with
from lockgate.policy.embedded import EmbeddedEngine
from lockgate.policy.replay import UNHURRIED
from lockgate.testing.policy_engine import example_input

DATA = """
version: 1
roles: {deployer: {}}
bindings: [{subject: {issuer: "https://issuer.test", id: agent-1}, roles: [deployer]}]
regions: {default: [eu]}
windows: [{name: always, targets: {environments: [staging]}, zone: Europe/Berlin, days: [monday], from: "00:01", to: "23:59"}]
approvals: {approvers: [deployer], standard: {count: 1, groups: [], expires_in_seconds: 60}}
"""


async def test_a_zone_that_is_missing_denies_by_name_is_counted_and_is_found_when_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = EmbeddedEngine(library_with(DATA, "data.yaml"), UNHURRIED)
    observer = Observer()
    places = zoneinfo.TZPATH
    zone.cache_clear()
    zoneinfo.ZoneInfo.clear_cache()
    monkeypatch.setitem(__import__("sys").modules, "tzdata", None)
    zoneinfo.reset_tzpath([tmp_path])
    try:
        decision = await observer.decide(engine, Question.APPLY, example_input(Question.APPLY))
    finally:
        zoneinfo.reset_tzpath(places)
    assert [violation.rule for violation in decision.violations] == ["lockgate.engine.time_zones"]
    assert 'lockgate_policy_faults_total{rule="lockgate.engine.time_zones"} 1.0' in observer.metrics.text().decode()
    again = await observer.decide(engine, Question.APPLY, example_input(Question.APPLY))
    assert not [item for item in again.violations if item.rule.startswith("lockgate.engine.")]
    await engine.close()


def test_a_zone_that_is_none_is_refused_by_name() -> None:
    with pytest.raises(ZoneMissing, match="Atlantis"):
        call_builtin("time.clock", [[0, "Europe/Atlantis"]])
