"""Invariant 6: every accepted request has an answer durable before it is sent; kill -9 anywhere loses none and applies none twice."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pysqlite3
import pytest
from tests.invariants.gate import Gate
from tests.invariants.parties import CATALOG, REASON
from tests.ports import free_ports

from lockgate.cli.bootstrap import Names, Ports, Samples, bootstrap
from lockgate.gateway.app import builtin_issuer
from lockgate.gateway.audit.sources import Trust, verify_file
from lockgate.gateway.errors import Clash
from lockgate.gateway.identity.issuer import TokenRequest
from lockgate.gateway.identity.port import Audience
from lockgate.gateway.settings import load_gateway_settings
from lockgate.gateway.store.port import AuditEntries, GetDecision
from lockgate.keys.signer import read_public_key
from lockgate.policy.bundle import LIBRARY

SERVE = """
import asyncio, sys
from pathlib import Path
from lockgate.gateway.app import serve
from lockgate.gateway.settings import load_gateway_settings

async def main():
    ready = asyncio.Event()
    task = asyncio.create_task(serve(load_gateway_settings(Path(sys.argv[1])), ready=ready))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    print("ready", flush=True)
    await task

asyncio.run(main())
"""


async def test_nobody_is_answered_before_the_record_is_durable(gate: Gate) -> None:
    """Another connection holds the database, so that nothing can be committed: no answer comes until it lets go."""
    other = pysqlite3.connect(str(gate.path), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    asking = asyncio.create_task(gate.ask())
    await asyncio.wait({asking}, timeout=0.5)
    answered = asking.done()
    other.execute("ROLLBACK")
    other.close()
    assert not answered, "answered while nothing could have been written"
    operation = await asking
    assert await gate.operation(operation) == operation
    assert await gate.store.read(GetDecision(operation.decision)) is not None


async def test_what_an_answer_rests_on_is_in_the_file_with_it(gate: Gate) -> None:
    """Operation, decision, audit entries: one transaction, read here by a connection of its own."""
    operation = await gate.ask(idempotency_key="one")
    other = pysqlite3.connect(f"file:{gate.path}?mode=ro", uri=True)
    assert other.execute("SELECT state FROM operation WHERE id = ?", (operation.id,)).fetchone() == ("queued",)
    assert other.execute("SELECT operation FROM decision WHERE id = ?", (operation.decision,)).fetchone()
    kinds = other.execute("SELECT kind FROM audit_entry WHERE operation = ? ORDER BY seq", (operation.id,)).fetchall()
    assert kinds == [("operation.requested",), ("decision.made",)]
    assert other.execute("SELECT operation FROM idempotency").fetchall() == [(operation.id,)]
    other.close()


async def test_every_commit_is_synced_to_the_disk(gate: Gate) -> None:
    writer = gate.store._open.db  # type: ignore[union-attr]  # a reader's own pragma says nothing of the writer's
    assert writer.execute("PRAGMA synchronous").fetchone() == (2,), "FULL"
    assert writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_the_same_key_is_the_same_operation_after_a_restart(gate: Gate) -> None:
    first = await gate.ask(idempotency_key="launch-7")
    await gate.close()
    await gate.open()
    again = await gate.ask(idempotency_key="launch-7")
    assert again.id == first.id
    with pytest.raises(Clash, match="another intent"):
        await gate.ask(idempotency_key="launch-7", replicas=4)
    requested = [entry for entry in await gate.store.read(AuditEntries()) if entry.kind == "operation.requested"]
    assert len(requested) == 1


async def test_the_same_key_at_the_same_time_is_one_operation(gate: Gate) -> None:
    operations = await asyncio.gather(*(gate.ask(idempotency_key="launch-8") for _ in range(10)))
    assert len({operation.id for operation in operations}) == 1


async def test_a_denial_is_as_durable_as_a_yes(gate: Gate) -> None:
    from tests.invariants.parties import agent

    denied = await gate.ask(agent(roles=()), idempotency_key="no")
    await gate.close()
    await gate.open()
    assert (await gate.ask(agent(roles=()), idempotency_key="no")).id == denied.id
    assert (await gate.operation(denied)).state.value == "denied"


async def test_an_accepted_report_is_not_applied_twice(gate: Gate) -> None:
    """The runner did not hear the answer and sends it again, to a gateway that was restarted in between."""
    from tests.invariants.parties import plan_bytes

    from lockgate.contract.intent import Stage

    operation = await gate.ask()
    runner = gate.runner()
    lease = await runner.take()
    await runner.start(lease)
    report = runner.stage(lease, Stage.PLAN, plan=plan_bytes())
    assert await runner.report(lease, report) == "queued"
    version = (await gate.operation(operation)).version
    await gate.close()
    await gate.open()
    assert await gate.runner().report(lease, report) == "queued"
    assert (await gate.operation(operation)).version == version


async def test_a_repeated_poll_is_the_same_lease(gate: Gate) -> None:
    await gate.ask()
    await gate.ask()
    runner = gate.runner()
    first = await runner.poll("a" * 16)
    await gate.close()
    await gate.open()
    again = await gate.runner().poll("a" * 16)
    assert first is not None
    assert again is not None
    assert again.attempt == first.attempt


@dataclass
class Process:
    """A gateway as its own process, below `home`."""

    home: Path
    port: int
    child: subprocess.Popen[str] | None = None

    def start(self) -> None:
        command = [sys.executable, "-c", SERVE, str(self.home / "gateway.yaml")]
        with (self.home / "gateway.log").open("ab") as log:
            self.child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self.child.stdout is not None
        line = self.child.stdout.readline()
        while line and line != "ready\n":
            line = self.child.stdout.readline()
        assert line == "ready\n", (self.home / "gateway.log").read_text()

    def kill(self) -> None:
        if self.child is not None:
            os.kill(self.child.pid, signal.SIGKILL)
            self.child.wait()
            assert self.child.stdout is not None
            self.child.stdout.close()
            self.child = None

    def token(self) -> str:
        issuer = builtin_issuer(load_gateway_settings(self.home / "gateway.yaml"))
        assert issuer is not None
        import time

        now = time.time()
        request = TokenRequest("ada", Audience.HUMAN, os.urandom(8).hex(), roles=("operator",), auth_time=int(now))
        return issuer.issue(request, now)

    def ask(self, token: str, key: str) -> dict[str, Any]:
        arguments = {"target": "web-dev", "replicas": 3, "reason": REASON, "idempotency_key": key}
        body = json.dumps({"action": "set_replicas", "arguments": arguments}).encode()
        headers = {"content-type": "application/json", "authorization": f"Bearer {token}"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/api/v1/operations", body, headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            document: dict[str, Any] = json.load(answer)
        return document


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    public, runners = free_ports(2)
    data = LIBRARY.joinpath("data.default.yaml").read_bytes()
    samples = Samples(files={"catalog/all.yaml": CATALOG.encode(), "policy/data.yaml": data})
    import time

    now = time.time_ns() // 1_000_000
    bootstrap(tmp_path, Names("kill"), dev=True, now=now, ports=Ports(public, runners), samples=samples)
    made = Process(tmp_path, public)
    yield made
    made.kill()


def test_kill_9_right_behind_an_answer_loses_nothing(process: Process) -> None:
    """A real gateway process, killed the moment it has answered; then started again on the same store."""
    token = process.token()
    answered: dict[str, str] = {}
    for turn in range(2):
        process.start()
        for key, operation in answered.items():
            assert process.ask(token, key)["id"] == operation, "the same key is the same operation"
        for number in range(3 + turn):
            key = f"launch-{turn}-{number}"
            answered[key] = process.ask(token, key)["id"]
        process.kill()
    assert len(set(answered.values())) == len(answered)
    store = process.home / "state" / "gateway" / "store.db"
    report = verify_file(store, Trust(root=read_public_key(process.home / "trust" / "root.pub")))
    assert report.ok, report.faults
