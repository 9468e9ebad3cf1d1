"""A call that is under way when its caller is revoked: nothing comes of it, however the caller times it (invariant 14)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from tests.invariants.gate import Gate
from tests.invariants.parties import ISSUER, REASON, agent, human

from lockgate.contract.decision import Decision, Question
from lockgate.contract.intent import Principal
from lockgate.gateway.api.app import WebSettings, public_app
from lockgate.gateway.errors import Forbidden
from lockgate.gateway.identity.port import Audience, Unauthenticated
from lockgate.gateway.store.port import Control, ControlKind, ListOperations, VotesOf
from lockgate.policy.port import PolicyEngine

BOT = agent("bot")


@dataclass
class Meanwhile:
    """The real engine, beside which something happens once, while it decides a question."""

    engine: PolicyEngine
    question: Question
    happens: Callable[[], Any]
    done: bool = False

    async def decide(self, question: Question, document: Any) -> Decision:
        decision = await self.engine.decide(question, document)
        if question is self.question and not self.done:
            self.done = True
            await self.happens()
        return decision

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)


def revoking(gate: Gate, principal: str) -> Callable[[], Any]:
    async def revoke() -> None:
        gate.clock.advance(1)
        await gate.core.commit(Control(ControlKind.REVOKE_PRINCIPAL, principal, (), gate.clock()))
        gate.clock.advance(1)

    return revoke


async def recorded(gate: Gate) -> int:
    return len(await gate.store.read(ListOperations("default", states=(), target=None, before=None, limit=10)))


async def test_a_principal_revoked_while_policy_decides_asks_for_nothing(gate: Gate) -> None:
    gate.core.policy = Meanwhile(gate.core.policy, Question.REQUEST, revoking(gate, BOT.id))
    with pytest.raises(Forbidden, match="revoked"):
        await gate.ask(BOT)
    assert await recorded(gate) == 0


async def test_a_principal_revoked_while_policy_decides_applies_no_plan(gate: Gate) -> None:
    planned = await gate.planned(await gate.ask(BOT, dry_run=True))
    assert planned.plan is not None
    gate.core.policy = Meanwhile(gate.core.policy, Question.PLAN, revoking(gate, BOT.id))
    arguments = {"operation_id": planned.id, "semantic_sha256": planned.plan.semantic_sha256, "reason": REASON}
    with pytest.raises(Forbidden, match="revoked"):
        await gate.desk.apply_plan(BOT, arguments)
    assert await recorded(gate) == 1


async def test_a_human_revoked_while_policy_decides_has_not_voted(gate: Gate) -> None:
    operation = await gate.pending()
    revoke = revoking(gate, ISSUER + "#carol")
    gate.core.policy = Meanwhile(gate.core.policy, Question.APPROVE, revoke)
    with pytest.raises(Forbidden, match="revoked"):
        await gate.vote(operation, human("carol"))
    assert await gate.store.read(VotesOf(operation.id)) == ()
    assert (await gate.operation(operation)).state.value == "pending_approval"


@pytest.mark.parametrize("door", ["mcp", "rest"])
async def test_a_body_that_takes_its_time_does_not_outlive_its_token(gate: Gate, door: str) -> None:
    """The caller opens a request, is revoked, and only then sends the rest."""
    revoked = []  # type: ignore[var-annotated]
    who = BOT if door == "mcp" else human("dave", "operator")

    def verify(token: str, audience: Audience) -> Principal:
        if revoked:
            raise Unauthenticated("invalid_token", "the token has been revoked")
        return who

    web = WebSettings(public_url="http://g", dev=True)
    arguments = {"target": "web-dev", "replicas": 3, "reason": REASON}
    if door == "mcp":
        params = {"name": "set_replicas", "arguments": arguments}
        path, body = "/mcp", {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    else:
        path, body = "/api/v1/operations", {"action": "set_replicas", "arguments": arguments}
    data, answers = json.dumps(body).encode(), []

    async def receive() -> dict[str, Any]:
        if not revoked:
            revoked.append(True)
            return {"type": "http.request", "body": data[:10], "more_body": True}
        return {"type": "http.request", "body": data[10:], "more_body": False}

    async def send(message: Any) -> None:
        answers.append(message)

    headers = {
        "host": "g",
        "content-type": "application/json",
        "accept": "application/json",
        "authorization": "Bearer x",
    }
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    await public_app(gate.desk, web, verify)(scope, receive, send)  # type: ignore[arg-type]
    assert answers[0]["status"] == 401
    assert await recorded(gate) == 0
