"""The world moves between approval and apply; standing is lost between request and start."""

from __future__ import annotations

from typing import Any

REASON = "scale for the launch"


def held(deployment: Any, service: str) -> tuple[str, dict[str, Any]]:
    alice = deployment.token("alice")
    asked = deployment.ask("set_replicas", "web-prod", {"service": service, "replicas": 2}, alice, reason=REASON)
    document = deployment.settled(asked["operation_id"], alice, "pending_approval")
    return asked["operation_id"], document["plan"]["digests"]


def approve(deployment: Any, operation: str, digests: dict[str, str]) -> None:
    shown = {name: digests[name] for name in ("semantic_sha256", "inputs_sha256")}
    vote = {"verdict": "approve", "digests": shown, "comment": ""}
    bob = deployment.token("bob", roles=("approver",))
    status, document = deployment.rest("POST", f"/api/v1/operations/{operation}/votes", bob, vote)
    assert status == 200, document


def test_an_out_of_band_edit_after_approval_is_found_by_the_check(deployment: Any) -> None:
    operation, digests = held(deployment, "drift")
    state = deployment.targets["web-prod"] / "drift.replicas"
    state.write_text("9\n")
    approve(deployment, operation, digests)
    alice = deployment.token("alice")
    again = deployment.settled(operation, alice, "pending_approval")
    while again["plan"]["digests"] == digests:
        again = deployment.settled(operation, alice, "pending_approval")
    assert state.read_text() == "9\n", "nothing may be applied"
    assert again["plan"]["summary"] == {"create": 0, "update": 1, "delete": 0, "replace": 0}


def test_a_revocation_counts_at_start(deployment: Any) -> None:
    operation, digests = held(deployment, "revoked")
    deployment.processes["runner"].stop()
    approve(deployment, operation, digests)
    admin = deployment.token("carol", roles=("admin",))
    subject = "lockgate:e2e#alice"
    body = {"kind": "principal", "subject": subject, "reason": "left the company"}
    status, document = deployment.rest("POST", "/api/v1/revocations", admin, body)
    assert status in (200, 201, 204), document
    deployment.start("runner")
    ended = deployment.settled(operation, admin)
    assert (ended["status"], ended["reasons"][0]["rule"]) == ("denied", "lockgate.revoked"), ended
    assert not (deployment.targets["web-prod"] / "revoked.replicas").exists()


def test_a_rejection_ends_it(deployment: Any) -> None:
    dave = deployment.token("dave")
    asked = deployment.ask("set_replicas", "web-prod", {"service": "no", "replicas": 2}, dave, reason=REASON)
    document = deployment.settled(asked["operation_id"], dave, "pending_approval")
    shown = {name: document["plan"]["digests"][name] for name in ("semantic_sha256", "inputs_sha256")}
    bob = deployment.token("bob", roles=("approver",))
    vote = {"verdict": "reject", "digests": shown, "comment": "not now"}
    status, ended = deployment.rest("POST", f"/api/v1/operations/{asked['operation_id']}/votes", bob, vote)
    assert status == 200 and ended["status"] == "denied", ended
