"""A log line is one line of JSON whatever is in it, and logging never fails its caller."""

from __future__ import annotations

import json

import pytest
import structlog

from lockgate.cli.logs import set_up_logs


@pytest.fixture(autouse=True)
def _restored():
    yield
    structlog.reset_defaults()


def logged(capsys: pytest.CaptureFixture[str], **values: object) -> dict[str, object]:
    set_up_logs()
    structlog.get_logger("test").info("event", **values)
    (line,) = capsys.readouterr().err.splitlines()
    found: dict[str, object] = json.loads(line)
    return found


@pytest.mark.parametrize("value", ["two\nlines", "\x1b[31mred", "\ud800", 2**70, {"a": {1}}, b"raw", None])
def test_anything_is_one_line_of_json(capsys: pytest.CaptureFixture[str], value: object) -> None:
    found = logged(capsys, value=value)
    assert found["event"] == "event" and "value" in found
