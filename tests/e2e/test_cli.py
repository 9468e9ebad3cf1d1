"""The commands as people run them: `lockgate dev` with its two processes, an agent's call, a vote, the audit, and a clean stop."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import tempfile
import termios
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.ports import free_ports
from typer.testing import CliRunner

from lockgate.cli.bootstrap import Ports
from lockgate.cli.exits import Exit
from lockgate.cli.main import app

PROGRAM = (sys.executable, "-m", "lockgate.cli")
SECONDS = 400
"""For one thing to happen on a machine that is busy with others."""

UNDER_WAY = {"queued", "leased", "running"}


@dataclass
class Dev:
    """A running `lockgate dev --json`; `ready` is the document it printed."""

    home: Path
    process: subprocess.Popen[str]
    ready: dict[str, Any]
    errors: Path

    def called(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """`lockgate call … --wait 60`, and another look as long as it is under way: a minute may be too short on a busy machine."""
        code, answer = self.run("call", *arguments, "--wait", "60")
        end = time.monotonic() + SECONDS
        while answer.get("status") in UNDER_WAY:
            assert time.monotonic() < end, answer
            look = ("lockgate_get_operation", "--arg", f"operation_id={answer['operation_id']}")
            code, answer = self.run("call", *look, "--wait", "60")
        return code, answer

    def receipts(self, operation: str, count: int) -> dict[str, Any]:
        """`audit show` once it has so many receipts: an operation ends with its report, and the last receipt comes after."""
        end = time.monotonic() + SECONDS
        while len((found := self.run("audit", "show", operation)[1])["receipts"]) < count:
            assert time.monotonic() < end, f"{len(found['receipts'])} of {count} receipts"
        return found

    def run(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """Another `lockgate … --json`, in this process; its exit code and its one document (the last, for a stream)."""
        code, out = self.screen(*arguments, "--json")
        return code, json.loads(out.splitlines()[-1])

    def screen(self, *arguments: str) -> tuple[int, str]:
        """The same for people: exit code and everything that was written."""
        kept = {name: None for name in os.environ if name.startswith("LOCKGATE_") and name != "LOCKGATE_OPA"}
        ran = CliRunner().invoke(app, [*arguments, "--home", str(self.home)], env=kept)
        if ran.exception is not None and not isinstance(ran.exception, SystemExit):
            raise ran.exception
        assert ran.output, "it said nothing"
        return ran.exit_code, ran.stdout if "--json" in arguments else ran.output


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("LOCKGATE_")} | {"NO_COLOR": "1"}


def children_of(pid: int) -> set[int]:
    """Processes started by `pid` that still are."""
    return {int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


@contextmanager
def running_dev(*flags: str) -> Iterator[Dev]:
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        home, ports = Path(place) / "home", Ports(*free_ports(2))
        where = ["--home", str(home), "--port", str(ports.public), "--runner-port", str(ports.runners)]
        argv = [*PROGRAM, "dev", *where, *flags, "--json"]
        errors = (
            Path(place) / "errors"
        )  # no pipe: nobody reads while tests go on, and a full one would stop the servers
        with (
            errors.open("wb") as sink,
            subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=sink, text=True, env=environment()) as process,
        ):
            try:
                assert process.stdout is not None
                line = process.stdout.readline()
                assert line, errors.read_text()
                yield Dev(home, process, json.loads(line), errors)
            finally:
                process.terminate()
                process.wait(timeout=300)


@pytest.fixture(scope="module")
def dev() -> Iterator[Dev]:
    """One deployment for all tests but those of another kind of deployment."""
    with running_dev("--no-opa") as made:
        yield made


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
    code, answer = dev.called(
        "set_replicas", "--target", "service-staging", "--arg", "service=web", "--arg", "replicas=3",
        "--reason", "more copies for the launch",
    )  # fmt: skip
    assert (code, answer["status"]) == (Exit.OK, "succeeded"), answer
    code, answer = dev.called("service_status", "--target", "service-staging", "--arg", "service=web")
    assert code == Exit.OK, answer
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
    code, answer = dev.called(
        "set_motd", "--target", "motd-production", "--arg", "message=Hello", "--reason", "greet the people"
    )
    operation = answer["operation_id"]
    code, details = dev.run("operation", "show", operation)
    assert details["operation"]["status"] == "pending_approval"
    digest = details["operation"]["plan"]["digests"]["semantic_sha256"]
    code, shown = dev.screen("why", operation, "--as", "bob")
    assert code == Exit.OK and "approvals: 0 of 1" in shown and f"lockgate operation approve {operation}" in shown
    code, answer = dev.run("operation", "approve", operation)
    assert (code, answer["error"]["code"]) == (Exit.USAGE, "usage"), "no terminal, no vote"
    code, answer = dev.run("operation", "approve", operation, "--yes", "--digest", "sha256:" + "0" * 64, "--as", "bob")
    assert code == Exit.CONFLICT
    code, answer = dev.run("operation", "approve", operation, "--yes", "--digest", digest, "--as", "alice")
    assert code == Exit.REFUSED and "four_eyes" in json.dumps(answer["error"]["rules"])
    approve = ("operation", "approve", operation, "--as", "bob", "--comment", "fine", "--home", str(dev.home))
    code, shown = on_a_terminal(approve, asked="approve exactly this plan? [y/N]", reply="n")
    assert code == Exit.INTERRUPTED and "no vote was sent" in shown
    assert dev.run("operation", "show", operation)[1]["operation"]["status"] == "pending_approval"
    code, shown = on_a_terminal(approve, asked="approve exactly this plan? [y/N]", reply="y")
    assert code == Exit.OK
    seen = shown[: shown.index("[y/N]")]
    assert digest in seen and "Hello" in seen and "greet the people" in seen, "first shown, then asked"
    code, answer = dev.run("operation", "watch", operation, "--timeout", "480")
    assert (code, answer["status"], answer["effect"]) == (Exit.OK, "succeeded", "full")
    recorded = dev.receipts(operation, 2)
    assert {"vote.refused", "vote.cast", "start.committed", "operation.ended"} <= {
        entry["kind"] for entry in recorded["entries"]
    }
    assert all(box["torn_down"] for receipt in recorded["receipts"] for box in receipt["sandboxes"])


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
    assert dev.run("operation", "watch", answer["operation_id"], "--timeout", "480")[0] == Exit.OK


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


@pytest.mark.opa
def test_policies_are_checked_and_tested_by_opa(dev: Dev, opa: Path, root: Path, tmp_path: Path) -> None:
    code, checked = dev.run("policy", "check", "--source", str(root / "policies"))
    assert (code, checked["ok"]) == (Exit.OK, True) and checked["revision"].startswith("sha256:")
    code, tested = dev.run("policy", "test", str(root / "policies"))
    assert (code, tested["failed"]) == (Exit.OK, []) and tested["tests"] > 20
    (tmp_path / "mine.rego").write_text(
        'package mine\n\nimport rego.v1\n\nallow if input.x == 1\n\ntest_wrong if allow with input as {"x": 2}\n'
    )
    code, tested = dev.run("policy", "test", str(tmp_path))
    assert code == Exit.FAILED and [item["name"] for item in tested["failed"]] == ["test_wrong"]
    (tmp_path / "mine.rego").write_text("package mine\n\nallow if {\n")
    code, refused = dev.run("policy", "check", "--source", str(tmp_path))
    assert code == Exit.FAILED and "mine.rego" in refused["errors"][0]["file"]


def test_sigterm_stops_both_servers_and_a_second_start_goes_on_with_what_was_there(dev: Dev) -> None:
    servers = children_of(dev.process.pid)
    dev.process.send_signal(signal.SIGTERM)
    assert dev.process.wait(timeout=300) == Exit.OK, dev.errors.read_text()
    assert not any(Path(f"/proc/{pid}").exists() for pid in servers)
    argv = [*PROGRAM, "dev", "--no-opa", "--home", str(dev.home), "--json"]
    with (
        dev.errors.open("wb") as sink,
        subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=sink, text=True, env=environment()) as again,
    ):
        assert again.stdout is not None
        line = again.stdout.readline()
        assert line and json.loads(line)["ready"] is True, dev.errors.read_text()
        code, found = dev.run("operation", "list", "--state", "succeeded")
        assert code == Exit.OK and found["operations"]
        servers = children_of(again.pid)
        again.kill()
        again.wait()
        # Whoever started them is gone without a word: they end by themselves.
        for pid in servers:
            assert wait_gone(pid), f"process {pid} outlived its dev"


def wait_gone(pid: int, seconds: int = SECONDS) -> bool:
    """Wait for a process that is nobody's child here, by its own file descriptor."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)


def on_a_terminal(arguments: Sequence[str], *, asked: str, reply: str, seconds: int = SECONDS) -> tuple[int, str]:
    """Run `lockgate …` on a terminal of its own and answer its question once it is asked; exit code and all that was seen."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (50, 200))
    with subprocess.Popen(
        [*PROGRAM, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=environment(), start_new_session=True
    ) as process:
        os.close(theirs)
        seen, replied = b"", False
        try:
            while select.select([ours], [], [], seconds)[0]:
                try:
                    seen += os.read(ours, 65536)
                except OSError:  # its last descriptor is closed: EIO
                    break
                if asked.encode() in seen and not replied:
                    replied = True
                    os.write(ours, reply.encode() + b"\n")
            assert replied, seen
            return process.wait(seconds), seen.decode()
        finally:
            process.kill()
            os.close(ours)


def test_without_a_sandbox_a_change_runs_to_its_end_and_every_screen_and_receipt_says_so() -> None:
    with running_dev("--unsafe-no-sandbox") as dev:
        unsafe = "UNSAFE: no sandbox (dev only)"
        assert dev.ready["unsafe"] == ["no_sandbox"]
        with urllib.request.urlopen(dev.ready["url"] + "/healthz", timeout=60) as answer:
            assert json.load(answer)["unsafe"] == ["no_sandbox"]
        change = ("--target", "motd-staging", "--arg", "message=Hello", "--reason", "greet the people")
        _, answer = dev.run("call", "set_motd", *change, "--wait", "60")
        operation = answer["operation_id"]
        code, watched = dev.screen("operation", "watch", operation, "--timeout", "480")
        assert code == Exit.OK and unsafe in watched and "succeeded" in watched
        assert (dev.home / "sandbox-targets" / "motd-staging" / "motd").read_text() == "Hello\n"
        _, shown = dev.screen("operation", "show", operation)
        assert unsafe in shown and "UNSAFE: no sandbox)" in shown
        receipts = dev.receipts(operation, 2)["receipts"]
        assert len(receipts) == 2, "plan and apply"
        assert {(receipt["isolated"], receipt["sandbox_class"]) for receipt in receipts} == {(False, "process")}
        assert all(box["torn_down"] for receipt in receipts for box in receipt["sandboxes"])
        _, doctor = dev.run("doctor")
        said = {finding["name"] for finding in doctor["findings"] if finding["level"] == "warning"}
        assert {"unsafe", "unsafe: no sandbox"} <= said
        assert list((dev.home / "sandbox" / "unsafe").iterdir()) == []
        code, answer = dev.run("dev")
        assert code != Exit.OK, "a safe dev does not silently go on with an unsafe home"
        for server in ("gateway", "runner"):
            refused_in_production(dev, server)


def refused_in_production(dev: Dev, server: str) -> None:
    """The very settings that run here are refused without the dev stamp."""
    path = dev.home / f"{server}.yaml"
    path.write_text(path.read_text().replace("dev: true", "dev: false").replace("any: true", "any: false"))
    code, answer = dev.run(server)
    assert code == Exit.USAGE
    assert answer["error"]["field"] in ("unsafe.no_sandbox", "sandbox.provider"), answer
