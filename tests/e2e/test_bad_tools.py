"""Tools that hang, flood, die or are missing, in real sandboxes through the whole chain: the operation's end says what is known, and no more."""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

REASON = "see what happens"
WALL_SECONDS = 40
"""What a hanging tool is given; a hundred megabytes must pass in it on a busy machine."""


ACTION = """
---
apiVersion: lockgate/v1
kind: Action
metadata: {name: misbehave}
spec:
  title: Misbehave
  description: Does what no tool should.
  effect: change
  risk: low
  idempotent: true
  targets: {names: [web-dev]}
  driver: runbook
  entry: misbehave
  arguments:
    type: object
    required: [service, how]
    properties:
      service: {type: string, maxLength: 40, pattern: "^[a-z][a-z0-9-]*$"}
      how: {type: string, maxLength: 40, pattern: "^[a-z]+-[a-z]+$"}
  variables: {service: service, how: how}
---
apiVersion: lockgate/v1
kind: Action
metadata: {name: absent}
spec:
  title: Absent
  description: Runs a command that is not there.
  effect: change
  risk: low
  idempotent: true
  targets: {names: [web-dev]}
  driver: runbook
  entry: absent
  arguments: {type: object, properties: {}}
  variables: {}
"""

TASKS = """
[tasks.misbehave]
description = "Does what no tool should"
check = ["./bin/misbehave", "{service}", "{how}"]
apply = ["./bin/misbehave", "{service}", "{how}"]
verify = ["./bin/misbehave", "{service}", "{how}"]

[tasks.misbehave.parameters.service]
type = "string"
max_length = 40
pattern = "[a-z][a-z0-9-]*"

[tasks.misbehave.parameters.how]
type = "string"
max_length = 40
pattern = "[a-z]+-[a-z]+"

[tasks.absent]
description = "Runs a command that is not there"
apply = ["./bin/no-such-command"]
"""

SCRIPT = """#!/bin/sh
# misbehave SERVICE STAGE-WHAT: in that stage hang, flood, die or half-die; in every other behave.
set -eu
state="$LOCKGATE_SETTING_STATE_DIR/$1.misbehave"
done=no
[ ! -f "$state" ] || done=yes
what=behave
[ "${2%%-*}" != "$LOCKGATE_STAGE" ] || what=${2#*-}
case $what in
hang) trap '' TERM; while :; do sleep 1; done ;;
die) kill -KILL $$ ;;
flood) head -c 100000000 /dev/zero | tr '\\0' x ;;
esac
if [ "$LOCKGATE_STAGE" = apply ]; then
  echo done > "$state"
  [ "$what" != doneanddie ] || kill -SEGV $$
  exit 0
fi
[ $done = no ] || exit 0
echo "[{\\"address\\": \\"x.$1\\", \\"type\\": \\"x\\", \\"name\\": \\"$1\\", \\"change\\": {\\"actions\\": [\\"create\\"], \\"before\\": null, \\"after\\": {}}}]"
exit 2
"""


def _catalog_revision(deployment: Any) -> str:
    with urllib.request.urlopen(deployment.url + "/healthz", timeout=60) as answer:
        return str(json.load(answer)["catalog"]["revision"])


@pytest.fixture(scope="module")
def misbehaving(deployment: Any) -> Any:
    """The shared deployment with a source and a catalog that misbehave; the catalog is taken without a restart."""
    source: Path = deployment.sources["service"]
    (source / "bin" / "misbehave").write_text(SCRIPT)
    (source / "bin" / "misbehave").chmod(0o755)
    (source / "runbook.toml").write_text((source / "runbook.toml").read_text() + TASKS)
    before = _catalog_revision(deployment)
    catalog = deployment.home / "catalog" / "all.yaml"
    text = catalog.read_text().replace("limits: {wall_seconds: 60}", f"limits: {{wall_seconds: {WALL_SECONDS}}}")
    catalog.write_text(text + ACTION)
    deadline = time.monotonic() + 300
    while _catalog_revision(deployment) == before:
        assert time.monotonic() < deadline, f"it never came\n{deployment.logs()}"
    return deployment


def ask(deployment: Any, how: str, **reserved: Any) -> str:
    """Ask for one misbehaviour, on a service of its own."""
    arguments = {"service": how, "how": how}
    token = deployment.token("alice")
    return str(deployment.ask("misbehave", "web-dev", arguments, token, reason=REASON, **reserved)["operation_id"])


def state(deployment: Any, how: str) -> Path:
    """What the tool would have written."""
    path: Path = deployment.targets["web-dev"] / f"{how}.misbehave"
    return path


def receipts(deployment: Any, operation: str) -> list[dict[str, Any]]:
    """The audit entries of the operation's receipts, once as many as attempts are there."""
    carol = deployment.token("carol", roles=("admin",))
    deadline = time.monotonic() + 300
    while True:
        details = deployment.rest("GET", f"/api/v1/operations/{operation}/details", carol)[1]
        found = [item["body"] for item in details["entries"] if item["kind"] == "receipt.received"]
        if len(found) >= len(details["attempts"]):
            return found
        assert time.monotonic() < deadline, f"it never came\n{deployment.logs()}"


PLANS = {
    "plan-hang": "plan stage ended as timeout",
    "plan-die": "killed by SIGKILL",
}


def test_a_tool_that_hangs_or_dies_at_plan_ends_the_operation_with_no_effect(misbehaving: Any) -> None:
    asked = {how: ask(misbehaving, how) for how in PLANS}
    for how, said in PLANS.items():
        ended = misbehaving.settled(asked[how], misbehaving.token("alice"))
        assert (ended["status"], ended["effect"]) == ("failed", "none"), ended
        assert said in ended["message"], ended["message"]
        assert all(item["proven"] for item in receipts(misbehaving, asked[how]))
        assert not state(misbehaving, how).exists()


def test_a_hundred_megabytes_at_plan_make_an_incomplete_plan_that_says_so(misbehaving: Any) -> None:
    operation = ask(misbehaving, "plan-flood", dry_run=True)
    ended = misbehaving.settled(operation, misbehaving.token("alice"))
    assert ended["status"] == "planned", ended["message"]
    assert any("printed more than" in item for item in ended["plan"]["incomplete"]), ended["plan"]


def test_a_hundred_megabytes_at_apply_change_nothing_about_its_end(misbehaving: Any) -> None:
    ended = misbehaving.settled(ask(misbehaving, "apply-flood"), misbehaving.token("alice"))
    assert (ended["status"], ended["effect"]) == ("succeeded", "full"), ended["message"]
    assert state(misbehaving, "apply-flood").exists()
    assert len(json.dumps(ended)) < 100_000


def test_a_tool_that_hangs_or_dies_at_apply_ends_as_verify_shows(misbehaving: Any) -> None:
    asked = {how: ask(misbehaving, how) for how in ("apply-die", "apply-doneanddie", "apply-hang")}
    ends = {how: misbehaving.settled(operation, misbehaving.token("alice")) for how, operation in asked.items()}
    shown = {how: (end["status"], end["effect"]) for how, end in ends.items()}
    assert shown == {
        "apply-die": ("failed", "none"),
        "apply-doneanddie": ("succeeded", "full"),
        "apply-hang": ("failed", "none"),
    }, ends
    for how, said in (("apply-die", "killed"), ("apply-doneanddie", "killed"), ("apply-hang", "timeout")):
        assert f"tool ended as {said}" in ends[how]["message"], ends[how]["message"]
        assert all(item["proven"] for item in receipts(misbehaving, asked[how]))


def test_a_tool_that_dies_at_verify_leaves_it_indeterminate(misbehaving: Any) -> None:
    alice, carol = misbehaving.token("alice"), misbehaving.token("carol", roles=("admin",))
    operation = ask(misbehaving, "verify-die")
    found = misbehaving.settled(operation, alice, "indeterminate")
    assert found["effect"] == "unknown" and "verify could not tell" in found["message"], found
    assert all(item["proven"] for item in receipts(misbehaving, operation)), "only then its writer is dead"
    body = {"outcome": "succeeded", "reason": "I looked: it is there"}
    status, ended = misbehaving.rest("POST", f"/api/v1/operations/{operation}/resolve", carol, body)
    assert status == 200 and (ended["status"], ended["effect"]) == ("succeeded", "full"), ended


def test_a_command_that_is_missing_is_named(misbehaving: Any) -> None:
    token = misbehaving.token("alice")
    asked = misbehaving.ask("absent", "web-dev", {}, token, reason=REASON)
    ended = misbehaving.settled(asked["operation_id"], token)
    assert (ended["status"], ended["effect"]) == ("failed", "none"), ended
    assert "no-such-command" in ended["message"], ended["message"]
