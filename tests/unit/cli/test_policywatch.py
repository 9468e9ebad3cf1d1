"""What the screen of `lockgate dev` is told of an edited policy, and a log that is missing, begun anew or no file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lockgate.cli.policywatch import PolicyWatch
from lockgate.cli.screen import Screen
from lockgate.gateway.policykeeping import NOT_TAKEN, TAKEN


def line(event: str, **fields: str) -> str:
    return json.dumps({"event": event, **fields}) + "\n"


def test_another_policy_and_a_refused_edit_are_told_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "gateway.log"
    log.write_text(line(TAKEN, revision="sha256:old"))
    watch = PolicyWatch(log, Screen())
    with log.open("a") as file:
        file.write(line(TAKEN, revision="sha256:one") + "no JSON\n[]\n" + line(TAKEN, revision="sha256:one"))
        file.write(line(NOT_TAKEN, error="line 3: unknown") + line(TAKEN, revision="sha256:two")[:20])
        file.flush()
        watch.look()
        file.write(line(TAKEN, revision="sha256:two")[20:])
    watch.look()
    watch.look()
    assert capsys.readouterr().err.splitlines() == [
        "policy not taken; the last good one stays in force: line 3: unknown",
        "policy taken up: sha256:two",
    ]


def test_a_log_that_is_not_there_or_was_begun_anew_ends_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "logs" / "gateway.log"
    watch = PolicyWatch(log, Screen())
    watch.look()
    log.parent.mkdir()
    log.write_text(line(TAKEN, revision="sha256:one") + "x" * 500 + "\n")
    watch.look()
    log.unlink()
    watch.look()
    log.mkdir()
    watch.look()
    log.rmdir()
    log.write_text(line(TAKEN, revision="sha256:two"))
    watch.look()
    assert capsys.readouterr().err.splitlines() == ["policy taken up: sha256:two"]
