"""The demo's agent goes on looking only at what is under way: every answer names a next call, a denial too."""

from typing import Any

import pytest

from lockgate.cli.demo.stage import LOOK, looks_again


@pytest.mark.parametrize(
    ("following", "again"),
    [
        (None, False),
        ({"tool": "lockgate_explain", "arguments": {"operation_id": "op_1"}, "after_seconds": 0}, False),
        ({"tool": LOOK, "arguments": {"operation_id": "op_1"}, "after_seconds": 0}, True),
    ],
)
def test_only_what_is_under_way_is_looked_at_again(following: dict[str, Any] | None, again: bool) -> None:
    assert looks_again({"status": "denied", "next": following}) is again
