"""What brought rules said of an operation, for the people who approve it: the newest word of each; pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lockgate.contract.shown import flat, notices
from lockgate.gateway.operations.model import DecisionRecord

MAX_SHOWN = 1_100
"""Characters of one denial; policy output holds no more."""


def readings_view(records: Iterable[DecisionRecord]) -> list[dict[str, Any]]:
    """Of decisions in the order in which they were made, what the newest of each question says; a rule asked twice says what it said last.

    Values are what somebody's rule made of a plan: foreign text, shown on one line each with what cannot be seen made visible.
    """
    newest = {record.question: record for record in records}
    latest: dict[str, dict[str, Any]] = {}
    for record in sorted(newest.values(), key=lambda record: record.at):
        for reading in record.document.get("readings", ()):
            latest[reading["name"]] = {**reading, "question": record.question, "decision_id": record.id}
    return [_shown(latest[name]) for name in sorted(latest)]


def readings_notices(readings: Iterable[dict[str, Any]]) -> list[str]:
    """What in these values may deceive the eye, as sentences."""
    return [found for reading in readings for found in notices(reading.get("value"), f"rule {reading['name']}")]


def _shown(reading: dict[str, Any]) -> dict[str, Any]:
    value = reading.get("value")
    if isinstance(value, list):
        value = [flat(str(item), limit=MAX_SHOWN) for item in value]
    return {**reading, "title": flat(reading["title"], limit=200), "value": value}
