"""Our decision log beside the one that a real OPA writes for the same question under the same bundle."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.looptime import comes_about

from lockgate.contract.decision import Decision, Provenance, Question
from lockgate.gateway.operations.decisionlog import opa_event
from lockgate.gateway.operations.inputs import keep_input
from lockgate.gateway.operations.model import DecisionRecord
from lockgate.policy.bundle import load_library
from lockgate.policy.embedded import EmbeddedEngine
from lockgate.policy.keeping import packed
from lockgate.policy.opaserver.endpoint import Dialer, Endpoint
from lockgate.policy.opaserver.engine import OpaServer, ServerSettings
from lockgate.policy.replay import UNHURRIED
from lockgate.testing.policy_engine import example_input

NOW = 1_800_000_000_123
OPAS_OWN = {"level", "msg", "time", "req_id", "type"}
"""What only the console logger or the server of OPA adds."""


def record(decision: Decision, document: dict[str, Any], **changes: Any) -> DecisionRecord:
    made = {
        "id": decision.id,
        "tenant": "default",
        "operation": None,
        "question": decision.question.value,
        "allow": decision.allow,
        "document": decision.to_document(),
        "input": keep_input(document),
        "at": NOW,
    }
    return DecisionRecord(**{**made, **changes})


async def logged(opa: Path, folder: Path, question: Question, document: dict[str, Any]) -> dict[str, Any]:
    """The line that OPA logs when our own engine asks it."""
    bundle, endpoint = load_library(), Endpoint(socket=folder / "opa.sock")
    (folder / "lockgate.tar.gz").write_bytes(packed(bundle))
    argv = [str(opa), "run", "--server", "--addr", f"unix://{endpoint.socket}", "--set", "decision_logs.console=true"]
    log = folder / "log"
    with log.open("wb") as out:
        argv += ["--log-format=json", "--skip-version-check", "--bundle", "lockgate.tar.gz"]
        server = subprocess.Popen(argv, cwd=folder, stdout=out, stderr=out, env={})
    engine = OpaServer(bundle, Dialer(endpoint, None, max_body=1 << 20), ServerSettings(deadline=30))
    try:
        async with comes_about("OPA logs a decision"):
            while True:
                await engine.decide(question, document)
                for line in log.read_bytes().split(b"\n")[:-1]:  # the last one may not be whole
                    event = json.loads(line)
                    if event.get("type") == "openpolicyagent.org/decision_logs":
                        return dict(event)
                assert server.poll() is None, log.read_text()
                await asyncio.sleep(0.02)
    finally:
        server.kill()
        server.wait()
        await engine.close()


@pytest.mark.opa
@pytest.mark.parametrize("question", [Question.REQUEST, Question.PLAN, Question.VIEW])
async def test_an_event_has_the_fields_that_opa_itself_writes(opa: Path, tmp_path: Path, question: Question) -> None:
    document = example_input(question)
    theirs = await logged(opa, tmp_path, question, document)
    engine = EmbeddedEngine(load_library(), UNHURRIED)
    ours = opa_event(record(await engine.decide(question, document), document), "test")
    await engine.close()
    assert set(theirs) - OPAS_OWN == set(ours) - {"custom", "type"}
    for name in ("path", "input"):
        assert ours[name] == theirs[name]
    assert sorted(ours["result"]["violations"], key=json.dumps) == sorted(
        theirs["result"]["violations"], key=json.dumps
    )
    # What brought rules read, and exceptions used, are in a record only where there are any.
    assert theirs["result"].pop("readings", []) == theirs["result"].pop("exceptions", []) == []
    assert {**ours["result"], "violations": 0} == {**theirs["result"], "violations": 0}
    assert list(ours["bundles"].values()) == list(theirs["bundles"].values())
    assert {name: type(value) for name, value in ours.items() if name in theirs} == {
        name: type(value) for name, value in theirs.items() if name in ours
    }
    assert set(ours["labels"]) >= set(theirs["labels"])
    assert set(ours["metrics"]) <= set(theirs["metrics"])
    assert ours["timestamp"] == "2027-01-15T08:00:00.123Z"
    assert (ours["timestamp"][10], theirs["timestamp"][10], theirs["timestamp"][-1]) == ("T", "T", "Z")


async def test_an_engines_own_denial_is_an_error_and_no_result() -> None:
    decision = Decision.denied(
        Question.LIST, "lockgate.engine.timeout", Provenance("dec_1", "sha256:1", "opa-wasm/1"), {"problem": "late"}
    )
    event = opa_event(record(decision, example_input(Question.LIST)), "test")
    assert "result" not in event
    assert event["error"]["code"] == "lockgate.engine.timeout"
    assert event["error"]["message"].endswith("late")


async def test_that_nothing_allows_is_what_opa_calls_a_result() -> None:
    decision = Decision.denied(
        Question.LIST, "lockgate.engine.no_allow", Provenance("dec_1", "sha256:1", "opa-wasm/1", "", 7)
    )
    event = opa_event(record(decision, example_input(Question.LIST), hidden=("/a",), masked=("/b",)), "test")
    assert event["result"] == {"allow": False, "violations": [], "obligations": {}}
    assert event["metrics"] == {"timer_server_handler_ns": 7000}
    assert (event["masked"], event["custom"]["hidden"]) == (["/input/a", "/input/b"], ["/input/a"])
    assert orjson.loads(orjson.dumps(event)) == event
