"""What rules said of an operation, for the people who approve it: the newest word of each; pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lockgate.contract.decision import Question
from lockgate.contract.reading import LIBRARY_PATH
from lockgate.contract.shown import flat, notices
from lockgate.gateway.operations.model import DecisionRecord

QUESTIONS = frozenset({Question.REQUEST.value, Question.PLAN.value, Question.APPLY.value, Question.HEAL.value})
"""The questions about an operation that rules are asked for."""
MAX_SHOWN = 1_100
"""Characters of one denial; policy output holds no more."""


def readings_view(records: Iterable[DecisionRecord]) -> list[dict[str, Any]]:
    """Of decisions in the order in which they were made, what the newest of each question says; a rule asked twice says what it said last.

    Values are what somebody's rule made of a plan: foreign text, shown on one line each with what cannot be seen made visible.
    """
    newest = {record.question: record for record in records if record.question in QUESTIONS}
    asked = sorted(newest.values(), key=lambda record: record.at)
    latest: dict[str, dict[str, Any]] = {}
    for record in asked:
        for reading in record.document.get("readings", ()):
            # A rule of the library says nothing once nothing needs approval for it: its older words are no longer true.
            if record is asked[-1] or not reading["path"].startswith(LIBRARY_PATH):
                latest[reading["path"]] = {**reading, "question": record.question, "decision_id": record.id}
    return [
        _shown(reading) for reading in sorted(latest.values(), key=lambda reading: (reading["name"], reading["path"]))
    ]


def readings_notices(readings: Iterable[dict[str, Any]]) -> list[str]:
    """What in these values may deceive the eye, as sentences."""
    return [found for reading in readings for found in notices(reading.get("value"), f"rule {reading['name']}")]


def _shown(reading: dict[str, Any]) -> dict[str, Any]:
    value = reading.get("value")
    if isinstance(value, list):
        value = [flat(str(item), limit=MAX_SHOWN) for item in value]
    return {**reading, "title": flat(reading["title"], limit=200), "value": value}
