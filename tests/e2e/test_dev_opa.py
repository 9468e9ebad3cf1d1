"""`lockgate dev` with an `opa`: it decides as dev's child, an edited rule is in force at the next decision, a broken one is told of, and none outlives dev."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.test_cli import children_of, wait_gone
from tests.ports import free_ports

from lockgate.cli.bootstrap import Ports
from lockgate.cli.client import PeopleClient

pytestmark = [pytest.mark.opa, pytest.mark.slow]
SECONDS = 400
"""For one thing to happen on a machine that is busy with others."""


@dataclass
class Dev:
    home: Path
    process: subprocess.Popen[str]
    ports: Ports
    errors: Path
    looked: int = 0
    """How much of what it has said was looked at."""

    def run(self, *arguments: str) -> dict[str, Any]:
        argv = [sys.executable, "-m", "lockgate.cli", *arguments, "--home", str(self.home), "--json"]
        answer: dict[str, Any] = json.loads(subprocess.run(argv, check=False, stdout=subprocess.PIPE, text=True).stdout)
        return answer

    def told(self) -> dict[str, Any]:
        policy: dict[str, Any] = PeopleClient(f"http://127.0.0.1:{self.ports.public}", "").health()["policy"]
        return policy

    def screen(self, until: str) -> str:
        """What it says from here on until a line with these words."""
        end = time.monotonic() + SECONDS
        while True:
            said = self.errors.read_text(errors="replace")[self.looked :]
            stop = said.find("\n", said.find(until)) + 1 if until in said else 0
            if stop:
                self.looked += stop
                return said[:stop]
            assert self.process.poll() is None and time.monotonic() < end, f"{until!r} never came: {said}"
            select.select([], [], [], 0.05)


@pytest.fixture
def dev(opa: Path) -> Iterator[Dev]:
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        home, ports = Path(place) / "home", Ports(*free_ports(2))
        where = ["--home", str(home), "--port", str(ports.public), "--runner-port", str(ports.runners)]
        argv = [sys.executable, "-m", "lockgate.cli", "dev", *where, "--json"]
        environment = {**os.environ, "LOCKGATE_OPA": str(opa), "NO_COLOR": "1"}
        errors = Path(place) / "errors"
        with (
            errors.open("wb") as sink,
            subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=sink, text=True, env=environment) as process,
        ):
            try:
                assert process.stdout is not None
                line = process.stdout.readline()
                assert line, errors.read_text()
                yield Dev(home, process, ports, errors)
            finally:
                process.terminate()
                process.wait(SECONDS)


def settle(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "it never came"


DENY = """package mine

note := "the word is {word}"

deny contains "not now" if input.reason == "{word}"
"""


def test_opa_decides_as_devs_child_and_rules_are_live(dev: Dev) -> None:
    first = dev.told()["taken"]
    servers = children_of(dev.process.pid)
    assert len(servers) == 3
    (opa,) = {child for server in servers for child in children_of(server) if "opa" in program(child)}
    assert dev.run("call", "set_replicas", *REPLICAS, "--arg", "replicas=2")["decision_id"]
    assert {record["engine"] for record in dev.run("policy", "decisions", "list")["decisions"]} == {"opa"}

    own = dev.home / "policy" / "own"
    own.mkdir()
    put(dev, own / "mine.rego", "package mine\n\ndeny contains {")
    assert "mine.rego:3" in dev.screen("policy not taken")
    assert dev.told()["taken"] == first
    assert dev.run("call", "set_replicas", *REPLICAS, "--arg", "replicas=3")["decision_id"]

    put(dev, own / "mine.rego", DENY.replace("{word}", "stop everything"))
    data = dev.home / "policy" / "data.yaml"
    bring = "bring:\n  - {name: mine, path: data.mine.deny, input: document, reads: denials, effect: deny, questions: [request]}\n"
    put(dev, data, data.read_text() + bring)
    dev.screen("policy taken up")
    settle(lambda: denied(dev, "stop everything"))
    assert not denied(dev, "more customers came")

    dev.process.kill()
    dev.process.wait()
    for pid in {*servers, opa}:
        assert wait_gone(pid), f"process {pid} outlived its dev"


def put(dev: Dev, place: Path, text: str) -> None:
    """A file as it is saved by an editor: whole, or not there yet."""
    draft = dev.home / "draft"
    draft.write_text(text)
    draft.replace(place)


REPLICAS = ["--target", "service-staging", "--arg", "service=shop", "--reason", "more customers"]


def denied(dev: Dev, reason: str) -> bool:
    arguments = ["--target", "service-staging", "--arg", "service=shop", "--arg", "replicas=4", "--reason", reason]
    answer = dev.run("call", "set_replicas", *arguments)
    assert "status" in answer, answer
    return answer["status"] == "denied"


def program(pid: int) -> str:
    return Path(f"/proc/{pid}/exe").readlink().name
