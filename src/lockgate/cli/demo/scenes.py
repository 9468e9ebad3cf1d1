"""What happens in the demo, scene by scene: each asks for something through a front door and looks at the real target. Nothing is faked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lockgate.cli.demo.replay import replay
from lockgate.cli.demo.stage import Stage
from lockgate.cli.exits import Exit
from lockgate.cli.problem import Problem
from lockgate.cli.show.operations import one_line
from lockgate.cli.show.plans import plan_text
from lockgate.cli.show.timeline import receipts_text, timeline_table
from lockgate.contract.shown import quoted

STAGING, PRODUCTION = "motd-staging", "motd-production"
Scene = Callable[[Stage], None]


def harmless(stage: Stage) -> None:
    """The agent asks for a harmless change; it is applied."""
    answer = stage.agent("set_motd", target=STAGING, message="Welcome", reason="greet the people who log in")
    stage.tell.say(f"agent-1 calls set_motd on {STAGING} over MCP: {answer.view['status']}. {answer.view['message']}")
    stage.tell.check(
        answer.view["status"] == "succeeded", "the change was planned, decided, checked, applied and verified"
    )
    stage.tell.check(stage.motd(STAGING) == "Welcome", f"the target now says {quoted(str(stage.motd(STAGING)))}")


def destructive(stage: Stage) -> None:
    """The agent asks for a destructive change; it is held, approved by another person, applied."""
    tell = stage.tell
    answer = stage.agent("remove_motd", target=STAGING, reason="the message is out of date")
    operation = answer.view["operation_id"]
    tell.say(f"agent-1 calls remove_motd on {STAGING}: {answer.view['status']}. {answer.view['message']}")
    tell.demand(answer.view["status"] == "pending_approval", "it is held until a human approves it")
    tell.check(stage.motd(STAGING) == "Welcome", "nothing has been changed yet")
    details = stage.details(operation)
    tell.show(plan_text(details))
    _refused_to_alice(stage, operation, details)
    stage.vote("bob", operation, details)
    tell.say("bob approves with the digests he was shown")
    end = stage.until(operation)
    tell.check((end["status"], end["effect"]) == ("succeeded", "full"), one_line(end))
    tell.check(stage.motd(STAGING) is None, "the message is gone from the target")


def _refused_to_alice(stage: Stage, operation: str, details: dict[str, Any]) -> None:
    try:
        stage.vote("alice", operation, details)
    except Problem as refused:
        rules = ", ".join(str(rule["rule"]) for rule in refused.rules)
        stage.tell.check(
            refused.exit is Exit.REFUSED, f"alice, who may approve but owns this agent, is refused: {rules}"
        )
    else:
        stage.tell.check(False, "alice, who owns this agent, is refused")


def forbidden(stage: Stage) -> None:
    """The agent asks for something forbidden; it is denied, and told why."""
    answer = stage.agent("remove_motd", target=PRODUCTION, reason="production needs no message")
    stage.tell.check(answer.view["status"] == "denied", f"remove_motd on {PRODUCTION} is denied")
    for rule in answer.view.get("rules", []):
        stage.tell.say(f"rule {rule['rule']}: {rule['message']} {rule['fix']}")
    stage.tell.check(
        bool(answer.view.get("rules")), f"the agent is told the rule and the fix, decision {answer.view['decision_id']}"
    )


def source_edited(stage: Stage) -> None:
    """The source is edited after approval; nothing is applied, it is planned again."""
    playbook = stage.sources / "motd" / "site.yml"
    original = playbook.read_bytes()

    def edit() -> str:
        playbook.write_bytes(original.replace(b'mode: "0644"', b'mode: "0666"'))
        return "somebody edits the playbook after the approval"

    try:
        _changed_after_approval(stage, "Maintenance on Monday", edit)
        stage.tell.check(stage.motd(PRODUCTION) is None, "nothing was applied")
    finally:
        playbook.write_bytes(original)


def out_of_band(stage: Stage) -> None:
    """The target is edited by hand after approval; the check's re-plan finds it, nothing is applied."""

    def edit() -> str:
        (stage.targets / PRODUCTION / "motd").write_text("edited by hand\n", "utf-8")
        return "somebody edits the target by hand, past Lockgate"

    _changed_after_approval(stage, "Maintenance on Tuesday", edit)
    stage.tell.check(
        stage.motd(PRODUCTION) == "edited by hand", "the hand's edit still stands: nothing was applied over it"
    )


def _changed_after_approval(stage: Stage, message: str, edit: Callable[[], str]) -> None:
    """Approve while the target is frozen, change the world, lift the freeze: the operation must plan again and ask again."""
    tell = stage.tell
    answer = stage.agent("set_motd", target=PRODUCTION, message=message, reason="announce the maintenance window")
    operation = answer.view["operation_id"]
    tell.demand(answer.view["status"] == "pending_approval", f"a change of {PRODUCTION} is held for approval")
    details = stage.details(operation)
    approved = details["operation"]["plan"]
    with stage.frozen(PRODUCTION):
        held = stage.vote("bob", operation, details)
        tell.check(
            held["status"] in ("queued", "pending_approval"), f"bob approves; {PRODUCTION} is frozen, so it waits"
        )
        tell.say(edit())
    again = stage.until(operation, "pending_approval", newer_than=approved["planned_at"])
    tell.check(
        again["status"] == "pending_approval", "nothing is applied; it is planned again and waits for a new approval"
    )
    now = again["plan"]["digests"]
    changed = [name for name in ("inputs_sha256", "semantic_sha256") if now[name] != approved["digests"][name]]
    tell.check(bool(changed), f"the approval was for another plan: {' and '.join(changed)} changed")
    applies = [item for item in stage.details(operation)["attempts"] if item["phase"] == "apply"]
    never = bool(applies) and all(item["started_at"] is None for item in applies)
    tell.check(never, f"{len(applies)} apply attempt was leased, and never started: no permit, no write access")
    stage.person("alice").post(f"/operations/{operation}/cancel", {})


def grant_replayed(stage: Stage) -> None:
    """The grant of a finished apply is presented again; gateway and runner each refuse it."""
    found = stage.person("bob").get("/operations", state="succeeded", target=STAGING, limit=1)["operations"][0]
    before = stage.motd(STAGING)
    seen = replay(stage, stage.details(found["id"]))
    stage.tell.check(
        seen.start.startswith("already started"), f"the gateway, asked to start that attempt again: {seen.start}"
    )
    stage.tell.check(
        "used once" in seen.refusal, f"the runner, handed the same grant by a stolen gateway: {seen.refusal}"
    )
    stage.tell.check(stage.motd(STAGING) == before, "the target was not touched")


def evidence(stage: Stage) -> None:
    """One operation's timeline, its receipts, and the audit log verified offline."""
    from lockgate.cli.home import gateway_settings
    from lockgate.cli.storecopy import copied_file
    from lockgate.gateway.audit.sources import Trust, verify_file
    from lockgate.keys.signer import read_public_key

    tell = stage.tell
    found = stage.person("bob").get("/operations", state="succeeded", target=STAGING, limit=1)["operations"][0]
    details = stage.details(found["id"])
    tell.show(timeline_table(details))
    tell.show(receipts_text(details))
    receipts = [item["payload"] for item in details["envelopes"] if item["kind"] == "receipt"]
    boxes = [box for receipt in receipts for box in receipt["sandboxes"]]
    tell.check(
        bool(boxes) and all(box["torn_down"] for box in boxes),
        f"{len(boxes)} sandboxes, each proven gone by a signed receipt",
    )
    keys = gateway_settings(stage.home)
    with copied_file(keys.store) as copy:
        trust = Trust(read_public_key(keys.keys.root_public), (keys.keys.keyset.read_bytes(),))
        report = verify_file(copy, trust)
    tell.check(report.ok and report.proven, f"audit verify, offline: {report.verdict}")


SCENES: tuple[tuple[str, Scene], ...] = (
    ("A harmless change", harmless),
    ("A destructive one, with an approval", destructive),
    ("A forbidden one", forbidden),
    ("A source edited after approval", source_edited),
    ("A target edited by hand after approval", out_of_band),
    ("A grant replayed", grant_replayed),
    ("The evidence", evidence),
)
