"""What an approver sees: all of the plan, the agent's words quoted, nothing invisible, and the digests of the vote."""

from io import StringIO
from typing import Any

from rich.console import Console

from lockgate.cli.show.explanations import explanation_text
from lockgate.cli.show.plans import plan_text
from lockgate.cli.show.timeline import receipts_text

DIGESTS = {
    name: "sha256:" + digit * 64
    for name, digit in (("file_sha256", "1"), ("inputs_sha256", "2"), ("semantic_sha256", "3"))
}


def details(**changes: Any) -> dict[str, Any]:
    change = {
        "address": "web\u202etxt",
        "change": {"actions": ["update"], "before": {"n": 1, "same": 0}, "after": {"n": "two\x1b[2J", "same": 0}},
    }
    gone = {"address": "old", "change": {"actions": ["delete"], "before": {"n": 1}, "after": None}}
    document: dict[str, Any] = {
        "operation": {
            "action": "set_motd",
            "target": "motd-staging",
            "principal": {"issuer": "iss", "subject": "agent-1", "owner": "iss#alice", "on_behalf_of": None},
            "intent": {"reason": 'APPROVED by "root"\nFix: approve now\u200b', "arguments": {"message": "a\u2066b"}},
            "plan": {
                "summary": {"create": 0, "update": 1, "delete": 1, "replace": 0},
                "fidelity": "predicted",
                "incomplete": ["task x was skipped"],
                "digests": DIGESTS,
            },
        },
        "plan": {"driver": "ansible", "resource_changes": [change, gone]},
        "envelopes": [],
    }
    return document | changes


def text_of(renderable: object) -> str:
    console = Console(width=200, record=True, force_terminal=False, file=StringIO())
    console.print(renderable)
    return console.export_text()


def test_a_plan_shows_every_change_what_is_not_known_and_every_digest() -> None:
    text = text_of(plan_text(details()))
    assert "1 to update, 1 to delete" in text
    assert "~ update web" in text and "- delete old" in text
    assert 'n: 1 → "two' in text and "same" not in text
    assert "not known: task x was skipped" in text
    assert "cannot show: What command, shell, raw and script tasks would do" in text
    for digest in DIGESTS.values():
        assert digest in text


def test_what_an_agent_or_a_tool_wrote_cannot_look_like_our_words() -> None:
    text = text_of(plan_text(details()))
    assert not any(char in text for char in "\u202e\u200b\u2066\x1b")
    for shown in ("⟨U+202E⟩", "⟨U+200B⟩", "⟨U+2066⟩"):
        assert shown in text
    [reason] = [line for line in text.splitlines() if "APPROVED" in line]
    assert reason.startswith("reason    \"APPROVED by 'root'⏎Fix: approve now") and reason.rstrip().endswith(
        "(the agent's words)"
    )


def test_markup_in_a_plan_stays_text() -> None:
    document = details()
    document["plan"]["resource_changes"][0]["address"] = "[bold red]x[/]"
    assert "[bold red]x[/]" in text_of(plan_text(document))


def reading(**changes: Any) -> dict[str, Any]:
    said = {"name": "r", "path": "data.team.r", "title": "Blast radius", "reads": "score", "effect": "approve"}
    return {**said, "verdict": "violated", "value": 31, "limit": 30, **changes}


def test_an_approver_sees_what_every_brought_rule_said_passed_or_not() -> None:
    denials = reading(
        name="d", title="Conftest", reads="denials", effect="deny", value=["no owner", "open"], count=25, limit=None
    )
    del denials["limit"]
    passed = reading(verdict="passed", value=3)
    nothing = reading(verdict="undefined", title="Gone")
    text = text_of(plan_text(details(readings=[reading(), denials, passed, nothing])))
    assert "rule Blast radius: 31 (up to 30 passes): needs approval" in text
    assert "rule Blast radius: 3 (up to 30 passes): passes" in text
    assert "rule Conftest: 25 denials: denies" in text
    assert "    no owner" in text and "… and 23 more" in text
    assert "rule Gone: no value: denies" in text


def test_what_a_brought_rule_says_cannot_look_like_our_words() -> None:
    forged = "fine\nfidelity exact: these bytes are what is applied\u202e\x1b[2J[red]"
    said = reading(reads="denials", value=[forged], count=1, title=forged, path=forged)
    text = text_of(plan_text(details(readings=[said])))
    assert [line for line in text.splitlines() if line.startswith("fidelity exact")] == []
    assert not any(char in text for char in "\u202e\x1b")
    assert "[red]" in text


def test_a_receipt_says_what_is_not_proven_and_who_holds_the_credential() -> None:
    receipt = {
        "attempt": "at_1",
        "runner": "r",
        "sandbox_class": "process",
        "isolated": False,
        "broker": "none: runner-trusted",
        "sandboxes": [{"stage": "apply", "torn_down": False, "checks": {"a": True, "b": False}, "uid_shared": True}],
        "witness": {"size": 7, "root": "sha256:" + "a" * 64},
    }
    text = text_of(receipts_text(details(envelopes=[{"kind": "receipt", "payload": receipt}])))
    for part in (
        "UNSAFE: no sandbox",
        "broker: none: runner-trusted",
        "NOT PROVEN GONE, 1 of 2 checks hold, uid shared",
        "witnessed 7",
    ):
        assert part in text


def explanation(**changes: Any) -> dict[str, Any]:
    document: dict[str, Any] = {
        "operation_id": "op_1",
        "action": "deploy",
        "target": "web-1",
        "status": "denied",
        "effect": "none",
        "message": "Denied\u202e by policy.",
        "awaited": ["approvals: 0 of 2"],
        "rules": [{"rule": "role", "title": "No", "message": "Not you.", "fix": "Ask\x1b[2J."}],
        "retry": {"helps": True, "after_seconds": 5, "how": "Wait."},
        "commands": ["lockgate operation show op_1"],
        "story": [{"at": 1000, "what": "vote.cast", "said": "A person voted approve.", "who": "iss#carol"}],
    }
    return document | changes


def test_an_explanation_shows_every_rule_what_is_awaited_and_the_command_to_run() -> None:
    text = text_of(explanation_text(explanation()))
    for part in ("rule role: Not you.", "waits for  approvals: 0 of 2", "again      yes after 5 s: Wait.", "carol"):
        assert part in text
    assert "do         lockgate operation show op_1" in text


def test_nothing_invisible_is_in_an_explanation() -> None:
    text = text_of(explanation_text(explanation()))
    assert "\u202e" not in text and "\x1b" not in text
