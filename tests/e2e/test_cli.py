"""The commands as people run them: `lockgate dev` with its two processes, an agent's call, a vote, the audit, and a clean stop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lockgate.cli.demo.stage import free_ports
from lockgate.cli.exits import Exit

PROGRAM = (sys.executable, "-m", "lockgate.cli")


@dataclass
class Dev:
    """A running `lockgate dev --json`; `ready` is the document it printed."""

    home: Path
    process: subprocess.Popen[str]
    ready: dict[str, Any]

    def run(self, *arguments: str, stdin: str = "") -> tuple[int, dict[str, Any]]:
        """Another `lockgate … --json`; its exit code and its one document (the last, for a stream)."""
        argv = [*PROGRAM, *arguments, "--home", str(self.home), "--json"]
        ran = subprocess.run(
            argv, capture_output=True, text=True, input=stdin, env=environment(), check=False, timeout=300
        )
        assert "Traceback" not in ran.stderr, ran.stderr
        lines = ran.stdout.splitlines()
        assert lines, ran.stderr
        return ran.returncode, json.loads(lines[-1])


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("LOCKGATE_")} | {"NO_COLOR": "1"}


def children_of(pid: int) -> set[int]:
    """Processes started by `pid` that still are."""
    return {int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


@pytest.fixture(scope="module")
def dev() -> Iterator[Dev]:
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        home, ports = Path(place) / "home", free_ports()
        argv = [
            *PROGRAM,
            "dev",
            "--home",
            str(home),
            "--port",
            str(ports.public),
            "--runner-port",
            str(ports.runners),
            "--json",
        ]
        with subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
        ) as process:
            assert process.stdout is not None and process.stderr is not None
            line = process.stdout.readline()
            assert line, process.stderr.read()
            try:
                yield Dev(home, process, json.loads(line))
            finally:
                process.terminate()
                process.communicate(timeout=120)


def test_dev_is_two_servers_and_says_what_to_try_and_what_it_is_not(dev: Dev) -> None:
    assert dev.ready["ready"] is True
    assert any("bypass Lockgate" in warning for warning in dev.ready["warnings"])
    assert any(line.startswith("lockgate call") for line in dev.ready["try"])
    assert len(children_of(dev.process.pid)) == 2
    for path in dev.ready["tokens"].values():
        assert Path(path).stat().st_mode & 0o777 == 0o600


def test_an_agent_lists_and_calls_and_the_target_changes(dev: Dev) -> None:
    code, listed = dev.run("call")
    assert code == Exit.OK
    assert {"set_motd", "set_replicas", "service_status", "lockgate_get_operation"} <= {
        tool["name"] for tool in listed["tools"]
    }
    code, answer = dev.run(
        "call", "set_replicas", "--target", "service-staging", "--arg", "service=web", "--arg", "replicas=3",
        "--reason", "more copies for the launch", "--wait", "60",
    )  # fmt: skip
    assert (code, answer["status"]) == (Exit.OK, "succeeded"), answer
    code, answer = dev.run(
        "call", "service_status", "--target", "service-staging", "--arg", "service=web", "--wait", "60"
    )
    assert code == Exit.OK
    assert json.loads(answer["output"]["text"]) == {"service": "web", "replicas": 3}


def test_refusals_have_their_exit_codes(dev: Dev) -> None:
    code, answer = dev.run("call", "remove_motd", "--target", "motd-production", "--reason", "not needed any more")
    assert (code, answer["status"]) == (Exit.REFUSED, "denied")
    code, answer = dev.run("call", "no_such_action", "--reason", "not needed any more")
    assert (code, answer["error"]["code"]) == (Exit.NOT_FOUND, "not_found")
    code, answer = dev.run(
        "call",
        "set_replicas",
        "--target",
        "service-staging",
        "--arg",
        "service=web",
        "--arg",
        "replicas=999",
        "--reason",
        "far too many copies",
    )
    assert code == Exit.USAGE and "replicas" in json.dumps(answer["error"])
    code, answer = dev.run("operation", "show", "op_nothing")
    assert (code, answer["error"]["code"]) == (Exit.NOT_FOUND, "not_found")
    code, answer = dev.run("freeze", "*", "--reason", "alice may not do this", "--as", "alice")
    assert code == Exit.REFUSED and answer["error"]["rules"]
    code, answer = dev.run("operation", "list", "--as", "agent")
    assert code == Exit.REFUSED, "an agent's token is no human's"


def test_a_change_of_production_is_held_voted_on_by_what_was_shown_and_applied(dev: Dev) -> None:
    code, answer = dev.run(
        "call",
        "set_motd",
        "--target",
        "motd-production",
        "--arg",
        "message=Hello",
        "--reason",
        "greet the people",
        "--wait",
        "60",
    )
    operation = answer["operation_id"]
    if answer["status"] != "pending_approval":
        dev.run("operation", "watch", operation, "--timeout", "1")
    code, details = dev.run("operation", "show", operation)
    assert details["operation"]["status"] == "pending_approval"
    digest = details["operation"]["plan"]["digests"]["semantic_sha256"]
    code, answer = dev.run("operation", "approve", operation)
    assert (code, answer["error"]["code"]) == (Exit.USAGE, "usage"), "no terminal, no vote"
    code, answer = dev.run("operation", "approve", operation, "--yes", "--digest", "sha256:" + "0" * 64, "--as", "bob")
    assert code == Exit.CONFLICT
    code, answer = dev.run("operation", "approve", operation, "--yes", "--digest", digest, "--as", "alice")
    assert code == Exit.REFUSED and "four_eyes" in json.dumps(answer["error"]["rules"])
    code, answer = dev.run(
        "operation", "approve", operation, "--yes", "--digest", digest, "--as", "bob", "--comment", "fine"
    )
    assert code == Exit.OK
    code, answer = dev.run("operation", "watch", operation, "--timeout", "240")
    assert (code, answer["status"], answer["effect"]) == (Exit.OK, "succeeded", "full")
    code, shown = dev.run("audit", "show", operation)
    assert {"vote.refused", "vote.cast", "start.committed", "operation.ended"} <= {
        entry["kind"] for entry in shown["entries"]
    }
    assert all(box["torn_down"] for receipt in shown["receipts"] for box in receipt["sandboxes"])


def test_the_kill_switch_holds_and_lets_go(dev: Dev) -> None:
    assert (
        dev.run("freeze", "target:service-staging", "--reason", "hold everything here", "--as", "admin")[0] == Exit.OK
    )
    arguments = (
        "--target",
        "service-staging",
        "--arg",
        "service=db",
        "--arg",
        "replicas=1",
        "--reason",
        "start the database",
    )
    code, answer = dev.run("call", "set_replicas", *arguments, "--wait", "1")
    assert (code, answer["status"]) == (Exit.WAITING, "queued")
    assert (
        dev.run("unfreeze", "target:service-staging", "--reason", "go on, all is well", "--as", "admin")[0] == Exit.OK
    )
    assert dev.run("operation", "watch", answer["operation_id"], "--timeout", "120")[0] == Exit.OK


def test_a_revoked_token_is_refused_at_once(dev: Dev) -> None:
    dev.run("token", "issue", "agent-9", "--role", "operator", "--owner", "alice", "--save", "nine")
    assert dev.run("call", "--as", "nine")[0] == Exit.OK
    token_id = dev.run("token", "inspect", "nine")[1]["claims"]["jti"]
    assert dev.run("token", "revoke", "--id", token_id, "--reason", "it was stolen", "--as", "admin")[0] == Exit.OK
    assert dev.run("call", "--as", "nine")[0] == Exit.REFUSED


def test_the_log_is_verified_offline_while_the_gateway_runs_and_from_an_export(dev: Dev, tmp_path: Path) -> None:
    code, report = dev.run("audit", "verify")
    assert (code, report["ok"], report["proven"]) == (Exit.OK, True, True), report
    export = tmp_path / "log.jsonl"
    assert dev.run("audit", "export", str(export))[0] == Exit.OK
    code, report = dev.run("audit", "verify", str(export))
    assert (code, report["proven"]) == (Exit.OK, True)
    lines = export.read_bytes().splitlines(keepends=True)
    entry = next(number for number, line in enumerate(lines) if b'"operation.requested"' in line)
    del lines[entry]
    export.write_bytes(b"".join(lines))
    code, report = dev.run("audit", "verify", str(export))
    assert code != Exit.OK


def test_a_second_dev_on_the_same_home_names_the_busy_port(dev: Dev) -> None:
    code, answer = dev.run("dev")
    assert code == Exit.UNAVAILABLE
    assert answer["error"]["field"] == "public.port" and "--port" in answer["error"]["fix"]


def test_sigterm_stops_both_servers_and_a_second_start_goes_on_with_what_was_there(dev: Dev) -> None:
    servers = children_of(dev.process.pid)
    dev.process.send_signal(signal.SIGTERM)
    _out, err = dev.process.communicate(timeout=120)
    assert dev.process.returncode == Exit.OK, err
    assert not any(Path(f"/proc/{pid}").exists() for pid in servers)
    argv = [*PROGRAM, "dev", "--home", str(dev.home), "--json"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()) as again:
        assert again.stdout is not None
        assert json.loads(again.stdout.readline())["ready"] is True
        code, found = dev.run("operation", "list", "--state", "succeeded")
        assert code == Exit.OK and found["operations"]
        servers = children_of(again.pid)
        again.kill()
        again.wait()
        # Whoever started them is gone without a word: they end by themselves.
        for pid in servers:
            assert wait_gone(pid), f"process {pid} outlived its dev"


def wait_gone(pid: int, seconds: int = 90) -> bool:
    """Wait for a process that is nobody's child here, by its own file descriptor."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    import select

    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)
