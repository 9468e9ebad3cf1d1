"""What people read of a shadow policy."""

from __future__ import annotations

from io import StringIO
from typing import Any

from rich.console import Console

from lockgate.cli.show.shadow import SAID, shadow_text
from lockgate.policy.comparison import Change


def text_of(found: dict[str, Any]) -> str:
    console = Console(width=200, record=True, force_terminal=False, file=StringIO())
    console.print(shadow_text(found, blocks=True))
    return console.export_text()


def report(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "on": True,
        "error": None,
        "revision": "sha256:abc",
        "since": "2026-11-27T00:00:00Z",
        "compared": 10,
        "dropped": 0,
        "unlogged": 0,
        "changes": {change.value: 0 for change in Change} | {"same": 7, "would_deny": 2, "unknown": 1},
        "unknown": [{"why": "the input holds no history of the last 3600 seconds", "count": 1}],
        "differences": [
            {
                "question": "request",
                "change": "would_deny",
                "rules": ["evil\u202erule"],
                "count": 2,
                "decisions": ["dec_1", "dec_2"],
                "actions": [{"action": "set_motd", "count": 2}],
            }
        ],
    }
    return found | changes


def test_every_change_has_words() -> None:
    assert set(SAID) == {change.value for change in Change}


def test_the_sentence_the_bars_the_newest_decision_and_what_was_not_judged() -> None:
    text = text_of(report())
    assert "2 of 10 decisions since 2026-11-27T00:00:00Z would differ under sha256:abc" in text
    assert "would be denied" in text and "█" in text and "dec_2" in text
    assert "not judged: 1, the input holds no history" in text
    assert "\u202e" not in text and "busy" not in text


def test_what_was_dropped_or_not_logged_is_said() -> None:
    text = text_of(report(dropped=3, unlogged=4))
    assert "3 not compared, since the shadow was busy" in text
    assert "4 counted and not in the audit log" in text


def test_without_one_the_setting_is_named_and_an_error_is_shown() -> None:
    nothing: dict[str, Any] = {"on": False, "error": None, "revision": None, "differences": []}
    assert "`policy.shadow`" in text_of(nothing)
    assert "next.yaml:3: is broken" in text_of(nothing | {"error": "next.yaml:3: is broken"})
