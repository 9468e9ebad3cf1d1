"""Processes that do not start, are killed, drain, freeze or miss each other: what was answered stands, and what is not known is said."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.e2e.conftest import told
from tests.ports import free_ports

from lockgate.cli.exits import Exit

REASON = "scale for the launch"

HELD = """#!/bin/sh
# replicas check|apply|status -- SERVICE [COUNT]: waits as long as SERVICE.hold-STAGE is there.
set -eu
state="$LOCKGATE_SETTING_STATE_DIR/$3"
while [ -e "$state.hold-$LOCKGATE_STAGE" ]; do sleep 0.1; done
now=null
[ ! -f "$state.replicas" ] || now=$(cat "$state.replicas")
case $1 in
check)
  [ "$now" != "$4" ] || exit 0
  echo "[{\\"address\\": \\"x.$3\\", \\"type\\": \\"x\\", \\"name\\": \\"$3\\", \\"change\\": {\\"actions\\": [\\"update\\"], \\"before\\": $now, \\"after\\": $4}}]"
  exit 2 ;;
apply) echo "$4" > "$state.replicas" ;;
esac
"""


def until(deployment: Any, what: Callable[[], Any]) -> Any:
    """The first true value; a deadline only keeps a broken test from waiting for ever."""
    deadline = time.monotonic() + 300
    wanted = inspect.getsource(what).strip().splitlines()[0]  # CI shows one line of a failure
    while not (found := what()):
        assert time.monotonic() < deadline, f"it never came: {wanted}\n{deployment.logs()}"
        asyncio.run(asyncio.sleep(0.05))
    return found


def health(deployment: Any) -> dict[str, Any]:
    with urllib.request.urlopen(deployment.url + "/healthz", timeout=30) as answer:
        document: dict[str, Any] = json.load(answer)
    return document


def refused_start(home: Path) -> tuple[int, str]:
    """The exit code and words of a gateway that must not start."""
    command = [sys.executable, "-m", "lockgate.cli", "gateway", "--home", str(home)]
    done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
    assert "Traceback" not in done.stderr + done.stdout, done.stderr
    return done.returncode, done.stderr + done.stdout


def test_what_does_not_parse_is_refused_at_start_by_file_and_line(bare_deployment: Any) -> None:
    home = bare_deployment.home
    for name, bad in (
        ("catalog/all.yaml", "\nmetadata: [\n"),
        ("catalog/all.yaml", "\n---\nkind: Nonsense\n"),
        ("policy/data.yaml", "\nroles: {operator: {questions: [everything]}}\n"),
    ):
        path = home / name
        good = path.read_bytes()
        path.write_bytes(good + bad.encode())
        code, said = refused_start(home)
        path.write_bytes(good)
        assert code == Exit.USAGE and re.search(rf"{path.name}:\d+", said.replace("\n", "")), (name, code, said)
        assert not (home / "state" / "gateway" / "store.db").exists(), f"{name}: nothing is left behind"


def test_a_busy_port_a_second_gateway_and_a_broken_reload(bare_deployment: Any) -> None:
    home = bare_deployment.home
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", bare_deployment.public))
        taken.listen()
        code, said = refused_start(home)
        assert code == Exit.UNAVAILABLE and "public.port" in said and str(bare_deployment.public) in said, said
    bare_deployment.start("gateway")
    _second_gateway(bare_deployment)
    revision = health(bare_deployment)["catalog"]["revision"]
    policy = health(bare_deployment)["policy"]["revision"]
    catalog, data = home / "catalog" / "all.yaml", home / "policy" / "data.yaml"
    good_catalog, good_data = catalog.read_text(), data.read_text()
    catalog.write_text(good_catalog + "\n---\nkind: Nonsense\n")
    data.write_text(good_data + "\nroles: 3\n")
    until(bare_deployment, lambda: health(bare_deployment)["catalog"]["reasons"] == ["catalog_refused"])
    until(bare_deployment, lambda: health(bare_deployment)["policy"]["reasons"] == ["bundle_refused"])
    broken = health(bare_deployment)
    assert str(home) not in json.dumps(broken) and ".yaml" not in json.dumps(broken), "anybody may ask"
    log = bare_deployment.processes["gateway"].log.read_text()
    assert re.search(r"all\.yaml:\d+", log) and re.search(r"data\.yaml:\d+", log), "the log says which line"
    assert (broken["ready"], broken["catalog"]["revision"]) == (True, revision)
    assert broken["policy"]["revision"] == policy
    names = bare_deployment.rest("GET", "/api/v1/actions", bare_deployment.token("alice"))[1]["actions"]
    assert "set_replicas" in {item["name"] for item in names}, "the old catalog and policy stay in force"
    catalog.write_text(good_catalog)
    data.write_text(good_data)
    until(bare_deployment, lambda: not health(bare_deployment)["catalog"]["reasons"])
    until(bare_deployment, lambda: not health(bare_deployment)["policy"]["reasons"])


def _second_gateway(deployment: Any) -> None:
    """Another home and other ports, the same store."""
    second = deployment.home / "second"
    shutil.copytree(deployment.home, second, ignore=shutil.ignore_patterns("state", "second", "*.log", "targets"))
    path = second / "gateway.yaml"
    document = yaml.safe_load(path.read_text())
    ports = free_ports(2)
    document["store"] = str(deployment.home / "state" / "gateway" / "store.db")
    document["public"] = {"host": "127.0.0.1", "port": ports[0], "url": f"http://127.0.0.1:{ports[0]}"}
    document["runners"]["port"] = ports[1]
    path.write_text(yaml.safe_dump(document))
    code, said = refused_start(second)
    pid = str(deployment.processes["gateway"].popen.pid)
    assert code == Exit.UNAVAILABLE and "store" in said and pid in said.split(), said
    assert deployment.healthy()


def test_an_answered_operation_survives_kill_9_of_the_gateway(bare_deployment: Any) -> None:
    bare_deployment.start("gateway")
    alice = bare_deployment.token("alice")
    call = {"service": "kept", "replicas": 2, "reason": REASON, "idempotency_key": "once"}
    first = bare_deployment.ask("set_replicas", "web-dev", {}, alice, **call)
    bare_deployment.processes["gateway"].stop(signal.SIGKILL)
    bare_deployment.start("gateway")
    again = bare_deployment.ask("set_replicas", "web-dev", {}, alice, **call)
    assert (again["operation_id"], again["status"]) == (first["operation_id"], "queued")
    waits = until(bare_deployment, lambda: _operation(bare_deployment, first["operation_id"])["waiting_for"])
    assert waits == "runner: none that has the driver runbook is connected in region local"
    bare_deployment.start("runner")
    ended = bare_deployment.settled(first["operation_id"], alice)
    assert (ended["status"], ended["waiting_for"]) == ("succeeded", None), ended
    assert (bare_deployment.targets["web-dev"] / "kept.replicas").read_text() == "2\n"
    carol = bare_deployment.token("carol", roles=("admin",))
    assert len(bare_deployment.rest("GET", "/api/v1/operations", carol)[1]["operations"]) == 1


def _operation(deployment: Any, operation: str) -> dict[str, Any]:
    carol = deployment.token("carol", roles=("admin",))
    status, document = deployment.rest("GET", f"/api/v1/operations/{operation}", carol)
    assert status == 200, document
    found: dict[str, Any] = document
    return found


@pytest.fixture(scope="module")
def holding(deployment: Any) -> Any:
    """The shared deployment with a tool that waits where it is told to, and short leases."""
    path = deployment.home / "gateway.yaml"
    document = yaml.safe_load(path.read_text())
    document["timing"] = {"lease": 8}
    path.write_text(yaml.safe_dump(document))
    (deployment.sources["service"] / "bin" / "replicas").write_text(HELD)
    deployment.stop()
    deployment.start("gateway")
    deployment.start("runner")
    return deployment


def hold(deployment: Any, service: str, stage: str) -> Path:
    """Let the tool wait in that stage of that service."""
    path: Path = deployment.targets["web-dev"] / f"{service}.hold-{stage}"
    path.touch()
    return path


def ask(deployment: Any, service: str, target: str = "web-dev") -> str:
    arguments = {"service": service, "replicas": 3}
    alice = deployment.token("alice")
    return str(deployment.ask("set_replicas", target, arguments, alice, reason=REASON)["operation_id"])


def in_place(deployment: Any, operation: str, status: str, phase: str) -> None:
    """Wait until the operation is there."""
    found: dict[str, Any] = {}

    def there() -> bool:
        found.update(_operation(deployment, operation))
        return (found["status"], found["phase"]) == (status, phase)

    try:
        until(deployment, there)
    except AssertionError as late:
        raise AssertionError(f"{told(found)}, not {status} in {phase}\n{late}") from None


def lock_state(deployment: Any) -> str:
    carol = deployment.token("carol", roles=("admin",))
    targets = deployment.rest("GET", "/api/v1/targets", carol)[1]["targets"]
    return str(next(item["lock_state"] for item in targets if item["name"] == "web-dev"))


def state(deployment: Any, service: str) -> Path:
    path: Path = deployment.targets["web-dev"] / f"{service}.replicas"
    return path


def killed_while_applying(deployment: Any, service: str) -> str:
    """An operation whose runner was killed -9 in the middle of its apply, once its lease has run out."""
    held = hold(deployment, service, "apply")
    operation = ask(deployment, service)
    in_place(deployment, operation, "running", "apply")
    deployment.processes["runner"].stop(signal.SIGKILL)
    found = deployment.settled(operation, deployment.token("alice"), "indeterminate")
    assert found["effect"] == "unknown" and "must look and resolve" in found["message"], found
    assert lock_state(deployment) == "quarantined"
    held.unlink()
    return operation


def test_a_runner_killed_while_planning_is_replaced_and_the_plan_made_again(holding: Any) -> None:
    held = hold(holding, "replan", "plan")
    operation = ask(holding, "replan")
    in_place(holding, operation, "running", "plan")
    holding.processes["runner"].stop(signal.SIGKILL)
    held.unlink()
    holding.start("runner")
    ended = holding.settled(operation, holding.token("alice"))
    assert (ended["status"], ended["effect"]) == ("succeeded", "full"), ended
    assert state(holding, "replan").read_text() == "3\n"


def test_a_runner_killed_while_applying_leaves_it_indeterminate_until_a_human_resolves(holding: Any) -> None:
    operation = killed_while_applying(holding, "lost")
    waiting = ask(holding, "behind")
    holding.start("runner")
    until(holding, lambda: lock_state(holding) != "quarantined")
    assert _operation(holding, operation)["status"] == "indeterminate", "a late receipt proves death, not the effect"
    assert holding.settled(waiting, holding.token("alice"))["status"] == "succeeded"
    assert not state(holding, "lost").exists(), "what was killed did not go on"
    carol = holding.token("carol", roles=("admin",))
    body = {"outcome": "failed_none", "reason": "I looked: nothing is there"}
    for outcome, code in ((200, None), (409, "conflict")):
        status, document = holding.rest("POST", f"/api/v1/operations/{operation}/resolve", carol, body)
        assert status == outcome and document.get("code") == code, document
    ended = _operation(holding, operation)
    assert (ended["status"], ended["effect"]) == ("failed", "none"), ended


def test_a_quarantined_lock_opens_on_a_humans_word(holding: Any) -> None:
    killed_while_applying(holding, "gone")
    alice, carol = holding.token("alice"), holding.token("carol", roles=("admin",))
    path, body = "/api/v1/targets/web-dev/unlock", {"reason": "the machine was scrapped"}
    assert holding.rest("POST", path, alice, body)[0] == 403
    assert holding.rest("POST", path, carol, {})[1]["field"] == "reason"
    status, document = holding.rest("POST", path, carol, body)
    assert status == 200 and document["state"] == "free", document
    assert holding.rest("POST", path, carol, body)[0] == 409
    operation = ask(holding, "after")
    holding.start("runner")
    assert holding.settled(operation, alice)["status"] == "succeeded"
    until(holding, lambda: lock_state(holding) == "free")


def test_sigterm_lets_a_running_apply_finish(holding: Any) -> None:
    held = hold(holding, "drained", "apply")
    operation = ask(holding, "drained")
    in_place(holding, operation, "running", "apply")
    runner = holding.processes["runner"]
    runner.popen.send_signal(signal.SIGTERM)
    until(holding, lambda: "draining" in runner.log.read_text(errors="replace"))
    later = ask(holding, "later")
    held.unlink()
    assert runner.popen.wait(300) == 0
    ended = _operation(holding, operation)
    assert (ended["status"], ended["effect"]) == ("succeeded", "full"), ended
    # Nothing new is taken. The poll that was given up may have been answered on its way: that lease runs out, and nobody has worked on it.
    in_place(holding, later, "queued", "plan")
    assert not state(holding, "later").exists()
    holding.start("runner")
    assert holding.settled(later, holding.token("alice"))["status"] == "succeeded"


def test_a_freeze_makes_it_wait_and_says_so(holding: Any) -> None:
    carol = holding.token("carol", roles=("admin",))
    freeze = {"scope": "target:web-dev", "frozen": True, "reason": "an incident is being handled"}
    assert holding.rest("POST", "/api/v1/freezes", carol, freeze)[0] == 200
    operation = ask(holding, "frozen")
    # What was before it may hold the target's lock until its receipt is there.
    until(holding, lambda: "freeze" in (_operation(holding, operation)["waiting_for"] or ""))
    assert _operation(holding, operation)["status"] == "queued"
    assert holding.rest("POST", "/api/v1/freezes", carol, {**freeze, "frozen": False})[0] == 200
    assert holding.settled(operation, holding.token("alice"))["status"] == "succeeded"


def test_what_waits_for_approval_can_be_cancelled(holding: Any) -> None:
    alice, bob = holding.token("alice"), holding.token("bob", roles=("approver",))
    operation = ask(holding, "unwanted", "web-prod")
    digests = holding.settled(operation, alice, "pending_approval")["plan"]["digests"]
    status, ended = holding.rest("POST", f"/api/v1/operations/{operation}/cancel", alice, {})
    assert status == 200 and (ended["status"], ended["effect"]) == ("cancelled", "none"), ended
    vote = {"verdict": "approve", "digests": {k: digests[k] for k in ("semantic_sha256", "inputs_sha256")}}
    assert holding.rest("POST", f"/api/v1/operations/{operation}/votes", bob, vote)[0] == 409
    assert not (holding.targets["web-prod"] / "unwanted.replicas").exists()


def test_an_operation_says_which_tool_no_runner_has(holding: Any) -> None:
    """The last of this module: it leaves the runner without ansible."""
    path = holding.home / "runner.yaml"
    document = yaml.safe_load(path.read_text())
    document["targets"]["motd"]["drivers"] = ["runbook"]
    path.write_text(yaml.safe_dump(document))
    holding.processes["runner"].stop()
    holding.start("runner")
    alice = holding.token("alice")
    asked = holding.ask("set_motd", "motd", {"message": "hello"}, alice, reason=REASON)
    waits = until(holding, lambda: _operation(holding, asked["operation_id"])["waiting_for"])
    assert waits == "runner: none that has the driver ansible is connected in region local"
    assert (
        holding.rest("POST", f"/api/v1/operations/{asked['operation_id']}/cancel", alice, {})[1]["status"]
        == "cancelled"
    )
