"""The way of one operation of exact fidelity, on both engines, by the processes people run: plan, derive, approve, check, apply, verify."""

from __future__ import annotations

import json
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.opentofu import SECRET, Works, make_works, remove

LOOKED = "Looked at after its runner was gone"

pytestmark = [pytest.mark.tofu, pytest.mark.slow]


@pytest.fixture(scope="module", params=["terraform", "opentofu"])
def works(request: pytest.FixtureRequest, provider_mirror: Path) -> Iterator[Works]:
    program = request.getfixturevalue({"terraform": "terraform", "opentofu": "tofu"}[request.param])
    home = Path(tempfile.mkdtemp(prefix="lockgate-e2e-"))
    home.chmod(0o711)
    made = make_works(home, request.param, program, provider_mirror)
    try:
        made.deployment.start("gateway")
        made.deployment.start("runner")
        yield made
    finally:
        made.deployment.end()
        remove(home)


def everything_said(works: Works, operation: str) -> str:
    """All that the gateway tells a human of an operation, and every log."""
    people = works.deployment.token("alice", roles=("operator", "approver", "auditor", "admin"))
    told = [
        works.deployment.rest("GET", f"/api/v1/operations/{operation}{part}", people)
        for part in ("", "/details", "/explanation")
    ]
    assert all(status == 200 for status, _ in told), told
    return repr(told) + "".join(p.log.read_text(errors="replace") for p in works.deployment.processes.values())


def test_a_change_is_planned_derived_applied_and_verified(works: Works) -> None:
    operation = works.ask("first")
    ended = works.settled(operation)
    assert (ended["status"], ended["effect"]) == ("succeeded", "full"), ended["message"]
    assert works.note() == "first"
    digests = ended["plan"]["digests"]
    assert ended["plan"]["fidelity"] == "exact"
    assert digests["file_sha256"] not in (digests["inputs_sha256"], digests["semantic_sha256"])
    again = works.settled(works.ask("first"))
    assert (again["status"], again["effect"]) == ("succeeded", "none"), "the kept state knows what there is"


def test_what_is_held_for_approval_is_applied_as_it_was_shown_and_tells_no_secret(works: Works) -> None:
    operation = works.ask("approved", "note-prod")
    held = works.settled(operation, "pending_approval")
    assert held["plan"]["summary"] == {"create": 3, "update": 0, "delete": 0, "replace": 0}
    works.approve(operation, held["plan"]["digests"])
    ended = works.settled(operation)
    assert (ended["status"], ended["effect"]) == ("succeeded", "full"), ended["message"]
    assert ended["plan"]["digests"] == held["plan"]["digests"]
    assert (works.note(), (works.target / "secret").read_text()) == ("approved", SECRET)
    said = everything_said(works, operation)
    assert SECRET not in said
    assert "hmac-sha256:" in said
    store = b"".join(path.read_bytes() for path in (works.deployment.home / "state").rglob("*") if path.is_file())
    assert SECRET.encode() not in store, "neither the gateway's store nor what the runner keeps has it in clear"


def test_a_file_changed_by_hand_after_the_approval_is_found_by_the_check(works: Works) -> None:
    operation = works.ask("wanted", "note-prod")
    held = works.settled(operation, "pending_approval")
    (works.target / "note").write_text("by hand")
    works.approve(operation, held["plan"]["digests"])
    again = works.settled(operation, "pending_approval")
    while again["plan"]["digests"] == held["plan"]["digests"]:
        again = works.settled(operation, "pending_approval")
    assert works.note() == "by hand", "nothing may be applied"


def let_go_on(works: Works, operation: str) -> None:
    """To its apply or beyond: the note may be there already, a new text then replaces it, and a replace deletes and needs a human."""
    moving = ("pending_approval", "queued", "leased", "running", "succeeded")
    held = works.settled(operation, *moving)
    while held["status"] not in ("pending_approval", "succeeded") and held["phase"] != "apply":
        held = works.settled(operation, *moving)
    if held["status"] == "pending_approval":
        assert held["plan"]["summary"]["replace"] > 0
        works.approve(operation, held["plan"]["digests"])


def test_a_runner_killed_as_its_apply_begins_is_looked_at_and_the_answer_is_what_holds(works: Works) -> None:
    settled = works.ask("before")
    let_go_on(works, settled)
    works.settled(settled, "succeeded")
    operation = works.ask("after", pause="300s")
    let_go_on(works, operation)
    works.lent(seconds=240)
    works.deployment.processes["runner"].stop(signal.SIGKILL)
    works.deployment.start("runner")
    looked = works.said_of(operation, LOOKED)
    # The tool may have begun with the note or not; that nothing changed may be said only where that is so (TRUST §5).
    if looked["status"] == "failed":
        assert (looked["effect"], works.note()) == ("none", "before"), looked["message"]
    else:
        assert looked["status"] == "indeterminate" and works.note() in ("after", None), looked["message"]
        works.resolve(operation, "failed_partial")


def test_a_runner_killed_in_an_apply_finds_what_the_tool_had_written(works: Works) -> None:
    operation = works.ask("half way", pause="300s")
    let_go_on(works, operation)
    written = works.written_state("half way", seconds=240)
    works.deployment.processes["runner"].stop(signal.SIGKILL)
    works.deployment.start("runner")
    # Its writer is dead, so it is looked at by itself, with the real engine; half of it is done, so only a human can end it.
    looked = works.said_of(operation, LOOKED)
    assert looked["status"] == "indeterminate", looked["message"]
    told = works.command("state", "list", "--json")
    (kept,) = [row for row in json.loads(told)["states"] if row["target"] == "note-dev"]
    assert (kept["trouble"], kept["lineage"]) == (None, written["lineage"]), kept
    assert kept["serial"] >= written["serial"]
    assert not works.lent_states(), "no state is left in clear"
