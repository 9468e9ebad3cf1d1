"""What brought rules said, as people are shown it: the last word of each, on its line, with what deceives named."""

from typing import Any

from lockgate.gateway.operations.model import DecisionRecord
from lockgate.gateway.operations.readings import readings_notices, readings_view


def record(question: str, at: int, *readings: dict[str, Any]) -> DecisionRecord:
    document = {"readings": list(readings), "revision": "sha256:0"} if readings else {"revision": "sha256:0"}
    return DecisionRecord(f"dec_{question}_{at}", "default", "op_1", question, True, document, None, at)


def reading(name: str, value: Any, **changes: Any) -> dict[str, Any]:
    said = {"name": name, "path": f"data.team.{name}", "title": name, "reads": "score", "effect": "deny"}
    return {**said, "verdict": "passed", "value": value, "limit": 5, **changes}


def test_of_every_rule_the_last_word_is_shown_with_the_decision_that_holds_it() -> None:
    records = [
        record("request", 1),
        record("plan", 2, reading("a", 1), reading("b", 1)),
        record("apply", 3, reading("a", 2), reading("c", 1)),
        record("apply", 4, reading("a", 3)),
        record("view", 5),
    ]
    shown = readings_view(records)
    assert [(each["name"], each["value"], each["decision_id"]) for each in shown] == [
        ("a", 3, "dec_apply_4"),
        ("b", 1, "dec_plan_2"),
    ]


def test_a_plan_that_was_made_again_has_the_last_word() -> None:
    records = [
        record("plan", 1, reading("a", 1)),
        record("apply", 2, reading("a", 1)),
        record("plan", 3, reading("a", 9)),
    ]
    assert [each["value"] for each in readings_view(records)] == [9]


def test_foreign_text_stays_on_its_line_and_what_deceives_is_named() -> None:
    hostile = reading("d", ["ok\nrule x: passes\u202e", "х" + "ok"], reads="denials", title="t\x1b[2J")
    (shown,) = readings_view([record("plan", 1, hostile)])
    assert shown["value"][0] == "ok⏎rule x: passes⟨U+202E⟩"
    assert "\x1b" not in shown["title"]
    told = readings_notices([hostile])
    assert any("RIGHT-TO-LEFT OVERRIDE" in notice for notice in told)
    assert any(notice.startswith("rule d[1]") and "CYRILLIC" in notice for notice in told)


def test_nothing_brought_shows_nothing() -> None:
    assert readings_view([record("plan", 1), record("apply", 2)]) == []


def test_a_rule_of_the_library_speaks_only_as_long_as_it_asks() -> None:
    """It says nothing once it passes; what it said of the plan before is then not shown."""
    held = reading("public_ingress", ["net.open"], path="data.lockgate.rules.public_ingress", verdict="violated")
    records = [record("plan", 1, held, reading("own", 1)), record("apply", 2, held, reading("own", 1))]
    assert [each["name"] for each in readings_view(records)] == ["own", "public_ingress"]
    again = [*records, record("plan", 3, reading("own", 2)), record("view", 4)]
    assert [(each["name"], each["value"]) for each in readings_view(again)] == [("own", 2)]


def test_a_brought_rule_of_the_same_name_is_another() -> None:
    library = reading("public_ingress", ["net.open"], path="data.lockgate.rules.public_ingress")
    shown = readings_view([record("plan", 1, library, reading("public_ingress", 7))])
    assert [each["path"] for each in shown] == ["data.lockgate.rules.public_ingress", "data.team.public_ingress"]
