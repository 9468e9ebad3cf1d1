# ruff: noqa: S101 - a contract suite asserts
"""The contract suite of the Driver port: subclass it, give it a subject, run it. It knows no driver and starts the real tool."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from lockgate.contract.canonical import digest
from lockgate.contract.codec import from_document, to_document
from lockgate.contract.intent import Stage
from lockgate.contract.jobchannel import JobResult
from lockgate.contract.plan import summarise
from lockgate.contract.work import InputsDocument
from lockgate.job.drivers.port import Driver, StageContext, StageRefused

OUTPUT_BYTES = 65_536
UNUSED = "sha256:" + "0" * 64
HOSTILE = {
    "an option": "-rf",
    "a long option": "--version",
    "a template": "{{ lookup('pipe', 'touch CANARY') }}",
    "a statement": "{% for x in [1] %}{{ x }}{% endfor %}",
    "a placeholder": "{name}",
    "a shell command": "$(touch CANARY)`touch CANARY`; touch CANARY | touch CANARY & touch CANARY",
    "a variable": "$HOME ${HOME} ~ * ?",
    "a newline": "first\nsecond",
    "NUL": "a\0b",
    "an escape": "\x1b]0;title\x07",
    "a way up": "../../../../etc/passwd",
    "quotes": "\"'\\ %s %(x)s",
    "other letters": "żółć 🌊 \u2028 \u202e",
    "a YAML tag": "!!python/object/apply:os.system ['touch CANARY']",
}


@dataclass(frozen=True, slots=True)
class Subject:
    """A driver with a source and a target to act on. `entry` with `variables` changes the target, completely foreseeably; `text` names the string
    variable among them and `read_text` says what the target now holds of it. `state` is everything the target holds. `faults` are entries without
    variables that `hang`, make `noise` (100 MB) and `die` by a signal at apply. `exact`: what stages of an exact driver find beside the source, by the
    fields of their StageContext: `tool`, `providers`, `state`."""

    driver: Driver
    source: Path
    entry: str
    variables: dict[str, Any]
    settings: dict[str, Any]
    text: str
    read_text: Callable[[], str | None]
    state: Callable[[], Any]
    scratch: Callable[[], Path]
    faults: dict[str, str] = field(default_factory=dict)
    exact: dict[str, Path] = field(default_factory=dict)

    def context(self, stage: Stage, entry: str | None = None, **changes: Any) -> StageContext:
        """A stage of this subject in a scratch directory of its own; `changes`: variables, settings, wall_seconds."""
        inputs = InputsDocument(
            version=1,
            driver="",
            entry=self.entry if entry is None else entry,
            variables=changes.get("variables", self.variables),
            settings=changes.get("settings", self.settings),
            snapshot_sha256=UNUSED,
            tool_name="",
            tool_version="",
            tool_sha256=UNUSED,
            job_sha256=UNUSED,
        )
        wall = float(changes.get("wall_seconds", 600))
        context = StageContext(
            stage, self.source, self.scratch(), None, inputs, OUTPUT_BYTES, wall, time.monotonic, time.monotonic()
        )
        exact: dict[str, Any] = dict(self.exact)
        return replace(context, **exact)

    def plan(self, stage: Stage = Stage.PLAN, entry: str | None = None, **changes: Any) -> JobResult:
        """What would change, as the runner learns it: an exact driver's plan file is derived."""
        return self._meaning(whole(self.driver.plan(self.context(stage, entry, **changes))))

    def verify(self) -> JobResult:
        """What would still change, as the runner learns it."""
        return self._meaning(whole(self.driver.verify(self.context(Stage.VERIFY))))

    def apply(self, entry: str | None = None, **changes: Any) -> JobResult:
        """Change it; an exact driver plans first, in as much time as that takes, and applies that very file."""
        context = self.context(Stage.APPLY, entry, **changes)
        if self.exact:
            planned = self.plan(
                entry=entry, **{name: value for name, value in changes.items() if name != "wall_seconds"}
            )
            assert planned.status == "ok", planned.detail
            context = replace(context, plan_file=self._file(planned), started=time.monotonic())
        return whole(self.driver.apply(context))

    def _meaning(self, result: JobResult) -> JobResult:
        if not self.exact or result.status != "ok":
            return result
        assert (result.changes, result.document) == ((), None), "what a plan file means is derived, not said"
        context = replace(self.context(Stage.DERIVE, "", variables={}), plan_file=self._file(result), state=None)
        context = replace(context, source=context.scratch / "no source")
        driver: Any = self.driver
        derived = whole(driver.derive(context))
        return replace(derived, plan_file=result.plan_file, changes=tuple(filter(_acts, derived.changes)))

    def _file(self, result: JobResult) -> Path:
        path = self.scratch() / "plan"
        path.write_bytes(base64.b64decode(result.plan_file, validate=True))
        return path


def _acts(change: dict[str, Any]) -> bool:
    return bool(change["change"]["actions"] != ["no-op"])


def whole(result: JobResult) -> JobResult:
    """The result, shown to survive the channel and to be bounded."""
    assert from_document(JobResult, json.loads(json.dumps(to_document(result)))) == result
    assert len(result.log.encode()) <= 8 * OUTPUT_BYTES
    assert len(result.output.encode()) <= 4 * OUTPUT_BYTES
    return result


class DriverContract:
    """Provide a pytest fixture `subject`."""

    def test_a_plan_shows_changes_in_terraforms_format_and_makes_none(self, subject: Subject) -> None:
        before = subject.state()
        result = subject.plan()
        assert (result.status, result.incomplete) == ("ok", ()), result.detail
        assert not summarise(result.changes).empty
        assert all(change["address"] and change["type"] for change in result.changes)
        assert subject.state() == before

    def test_two_plans_of_the_same_inputs_and_target_are_equal(self, subject: Subject) -> None:
        first, second = (subject.plan(stage) for stage in (Stage.PLAN, Stage.CHECK))
        assert digest(list(first.changes)) == digest(list(second.changes))

    def test_after_apply_verify_and_a_second_plan_are_empty(self, subject: Subject) -> None:
        early = subject.verify()
        assert early.status == "ok"
        assert early.changes, "before apply there is something left to change"
        applied = subject.apply()
        assert (applied.status, applied.exit_code) == ("ok", 0), applied.detail
        verified = subject.verify()
        assert (verified.status, verified.changes, verified.incomplete) == ("ok", (), ())
        again = subject.plan()
        assert (again.status, again.changes) == ("ok", ())

    @pytest.mark.parametrize("entry", ["", "nothing-of-this-name", "../outside", "/etc/passwd", "-v", "--help", "a\nb"])
    def test_an_entry_that_is_not_in_the_source_is_refused_by_name(self, subject: Subject, entry: str) -> None:
        with pytest.raises(StageRefused, match="entry"):
            subject.driver.plan(subject.context(Stage.PLAN, entry))

    @pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
    def test_a_hostile_value_stays_data_or_is_refused(self, subject: Subject, value: str) -> None:
        before = subject.state()
        try:
            result = subject.apply(variables={**subject.variables, subject.text: value})
        except StageRefused as refused:
            assert subject.text in str(refused)
            assert subject.state() == before
        else:
            assert result.status == "ok", result.detail
            assert subject.read_text() == value
        assert not list(subject.scratch().parent.rglob("CANARY*"))
        assert not list(subject.source.rglob("CANARY*"))

    def test_an_unknown_setting_shape_is_refused_by_name(self, subject: Subject) -> None:
        with pytest.raises(StageRefused, match=r"settings\.Bad Name"):
            subject.driver.plan(subject.context(Stage.PLAN, settings={**subject.settings, "Bad Name": "x"}))

    def test_no_tool_starts_when_the_time_is_up(self, subject: Subject) -> None:
        before = subject.state()
        result = subject.apply(wall_seconds=0)
        assert result.status == "timeout"
        assert subject.state() == before

    def test_a_tool_that_hangs_is_stopped(self, subject: Subject) -> None:
        result = subject.apply(subject.faults["hang"], variables={}, wall_seconds=3)
        assert result.status == "timeout"
        assert result.detail

    def test_a_hundred_megabytes_of_output_are_cut_and_said_so(self, subject: Subject) -> None:
        result = subject.apply(subject.faults["noise"], variables={})
        assert result.truncated
        assert len(result.log) >= OUTPUT_BYTES

    def test_a_tool_that_dies_by_a_signal_has_not_succeeded(self, subject: Subject) -> None:
        result = subject.apply(subject.faults["die"], variables={})
        assert result.status == "killed"
        assert "SIGKILL" in result.detail
