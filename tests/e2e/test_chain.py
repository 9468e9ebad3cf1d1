"""The way of one operation, end to end, by the processes people run."""

from __future__ import annotations

from typing import Any

import pytest

REASON = "scale for the launch"


@pytest.mark.smoke
def test_a_harmless_change_is_applied_verified_and_torn_down(deployment: Any) -> None:
    agent = deployment.token("alice", roles=("operator",))
    asked = deployment.ask(
        "set_replicas", "web-dev", {"service": "shop", "replicas": 3}, agent, reason=REASON, wait_seconds=60
    )
    ended = deployment.settled(asked["operation_id"], agent)
    assert (ended["status"], ended["effect"]) == ("succeeded", "full"), ended["message"]
    assert (deployment.targets["web-dev"] / "shop.replicas").read_text().strip() == "3"


def test_a_read_answers_with_bounded_untrusted_output(deployment: Any) -> None:
    agent = deployment.token("alice")
    asked = deployment.ask("service_status", "web-dev", {"service": "never-set"}, agent, wait_seconds=60)
    ended = deployment.settled(asked["operation_id"], agent)
    assert ended["status"] == "succeeded", ended["message"]
    assert '"replicas": null' in ended["output"]["text"], ended["output"]


def test_production_is_held_until_another_human_approves_what_was_displayed(deployment: Any) -> None:
    alice, bob = deployment.token("alice"), deployment.token("bob", roles=("approver",))
    asked = deployment.ask("set_replicas", "web-prod", {"service": "shop", "replicas": 2}, alice, reason=REASON)
    held = deployment.settled(asked["operation_id"], alice, "pending_approval")
    path = f"/api/v1/operations/{asked['operation_id']}/votes"
    digests = {name: held["plan"]["digests"][name] for name in ("semantic_sha256", "inputs_sha256")}
    vote = {"verdict": "approve", "digests": digests, "comment": "looks right"}
    own = deployment.rest("POST", path, deployment.token("alice", roles=("operator", "approver")), vote)
    assert own[0] == 403 and own[1]["rules"][0]["rule"] == "lockgate.four_eyes", own
    stale = {**vote, "digests": {**digests, "semantic_sha256": "sha256:" + "0" * 64}}
    assert deployment.rest("POST", path, bob, stale)[0] == 409
    assert deployment.rest("POST", path, bob, {"verdict": "approve", "comment": ""})[0] == 400
    assert not (deployment.targets["web-prod"] / "shop.replicas").exists()
    status, document = deployment.rest("POST", path, bob, vote)
    assert status == 200, document
    ended = deployment.settled(asked["operation_id"], alice)
    assert (ended["status"], ended["effect"]) == ("succeeded", "full"), ended["message"]
    assert (deployment.targets["web-prod"] / "shop.replicas").read_text().strip() == "2"


def test_a_source_edited_after_approval_is_planned_again_and_not_applied(deployment: Any) -> None:
    alice, bob = deployment.token("alice"), deployment.token("bob", roles=("approver",))
    asked = deployment.ask("set_replicas", "web-prod", {"service": "cart", "replicas": 2}, alice, reason=REASON)
    held = deployment.settled(asked["operation_id"], alice, "pending_approval")
    script = deployment.sources["service"] / "bin" / "replicas"
    script.write_text(script.read_text() + "# edited after the plan was approved\n")
    digests = {name: held["plan"]["digests"][name] for name in ("semantic_sha256", "inputs_sha256")}
    vote = {"verdict": "approve", "digests": digests, "comment": ""}
    status, document = deployment.rest("POST", f"/api/v1/operations/{asked['operation_id']}/votes", bob, vote)
    assert status == 200, document
    again = deployment.settled(asked["operation_id"], alice, "pending_approval")
    while again["plan"]["digests"] == held["plan"]["digests"]:
        again = deployment.settled(asked["operation_id"], alice, "pending_approval")
    assert not (deployment.targets["web-prod"] / "cart.replicas").exists()
