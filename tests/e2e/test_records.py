"""Every decision of a whole run, by the processes people run and under two policies, made again from the store alone."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from lockgate.cli.exits import Exit
from lockgate.cli.main import app
from lockgate.gateway.settings import load_gateway_settings

REASON = "scale for the launch"


def command(deployment: Any, *arguments: str) -> tuple[int, dict[str, Any]]:
    """A command of `lockgate policy` on the home of a running deployment."""
    ran = CliRunner().invoke(app, ["policy", *arguments, "--home", str(deployment.home), "--json"])
    return ran.exit_code, json.loads(ran.output.splitlines()[-1])


def a_run(deployment: Any, service: str) -> list[str]:
    """A change at once, a read, one that is approved, one that is denied, a freeze and a look: the operations."""
    alice, bob = deployment.token("alice"), deployment.token("bob", roles=("approver", "admin"))
    replicas = {"service": service, "replicas": 2}
    quick = deployment.ask("set_replicas", "web-dev", replicas, alice, reason=REASON)["operation_id"]
    deployment.settled(quick, alice)
    read = deployment.ask("service_status", "web-dev", {"service": service}, alice)["operation_id"]
    deployment.settled(read, alice)
    asked = deployment.ask("set_replicas", "web-prod", replicas, alice, reason=REASON)["operation_id"]
    digests = deployment.settled(asked, alice, "pending_approval")["plan"]["digests"]
    vote = {
        "verdict": "approve",
        "comment": "",
        "digests": {k: digests[k] for k in ("semantic_sha256", "inputs_sha256")},
    }
    assert deployment.rest("POST", f"/api/v1/operations/{asked}/votes", bob, vote)[0] == 200
    deployment.settled(asked, alice)
    call = {"action": "set_replicas", "arguments": {**replicas, "target": "web-dev", "reason": REASON}}
    status, denied = deployment.rest("POST", "/api/v1/operations", deployment.token("eve", roles=("none",)), call)
    assert status == 403, denied
    for frozen in (True, False):
        freeze = {"scope": "target:web-dev", "frozen": frozen, "reason": "a quiet hour"}
        assert deployment.rest("POST", "/api/v1/freezes", bob, freeze)[0] in (200, 201)
    assert deployment.rest("GET", f"/api/v1/operations/{asked}/details", bob)[0] == 200
    return [quick, read, asked, str(denied["operation"]["id"])]


def another_policy(deployment: Any) -> None:
    """Edit the policy data of the running gateway, and wait until it decides under it."""
    file: Path = load_gateway_settings(deployment.home / "gateway.yaml").policy_data / "data.yaml"
    before = deployment.rest("GET", "/healthz", None)[1]["policy"]["revision"]
    file.write_text(file.read_text().replace("expires_in_seconds: 3600", "expires_in_seconds: 1800"))
    deadline = time.monotonic() + 300
    while deployment.rest("GET", "/healthz", None)[1]["policy"]["revision"] == before:
        assert time.monotonic() < deadline, deployment.logs()


def test_every_decision_of_a_run_under_two_policies_replays_to_the_byte(deployment: Any, tmp_path: Path) -> None:
    operations = a_run(deployment, "before")
    another_policy(deployment)
    operations += a_run(deployment, "after")
    code, found = command(deployment, "replay", "--all")
    assert (code, found["different"], found["damaged"], found["unknown"]) == (Exit.OK, 0, 0, 0), found["decisions"]
    assert found["replayed"] == found["same"] >= 2 * 12
    output = tmp_path / "decisions.ndjson"
    assert command(deployment, "decisions", "export", str(output))[0] == Exit.OK
    events = [json.loads(line) for line in output.read_text().splitlines()]
    assert len(events) >= found["replayed"]
    assert len({event["bundles"]["lockgate"]["revision"] for event in events}) == 2
    assert set(operations) <= {event["custom"]["operation"] for event in events}
    asked = {event["custom"]["question"] for event in events}
    assert asked >= {"request", "plan", "apply", "approve", "admin", "view"}
    code, why = command(deployment, "explain", operations[3])
    assert (code, [rule["rule"] for rule in why["rules"]], why["problem"]) == (Exit.OK, ["role"], None)
