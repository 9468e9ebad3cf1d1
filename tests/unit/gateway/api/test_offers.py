"""Features beside the governed tools: behind the same doors, after the same admission, and with nothing a client brings back believed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import mcp_types as types
import pytest
from mcp.server.request_state import InvalidRequestState
from tests.unit.gateway.api.serving import Served, headers_of, modern, serving
from tests.unit.gateway.api.streams import Events, posted

from lockgate.gateway.api.offers import Body, Context, Offers
from lockgate.gateway.api.requeststate import TTL_SECONDS, OneTimeCodec
from lockgate.gateway.operations.model import Operation

ASKED = {"resultType": "input_required", "inputRequests": {"name": {"method": "roots/list", "params": {}}}}
LEGACY = {"mcp_protocol_version": "2025-11-25", "mcp_method": "tools/call", "mcp_name": "status"}
ELICITED = {"type": "object", "properties": {"name": {"type": "string"}}}


async def stateful(ctx: Context, params: types.CallToolRequestParams, operation: Operation) -> dict[str, Any]:
    if params.request_state is None:
        return {**ASKED, "requestState": "round one"}
    return {"content": [{"type": "text", "text": params.request_state}], "resultType": "complete"}


async def elicits(ctx: Context, params: types.CallToolRequestParams, operation: Operation) -> dict[str, Any]:
    answer = await ctx.session.elicit_form("Who?", ELICITED, related_request_id=ctx.request_id)
    return {"content": [{"type": "text", "text": f"{answer.action} {answer.content}"}]}


async def prompts(ctx: Context, params: Any) -> dict[str, Any]:
    return {"prompts": [], "ttlMs": 0, "cacheScope": "private", "resultType": "complete"}


@asynccontextmanager
async def offering(words: Any, requires: types.ClientCapabilities | None = None) -> AsyncIterator[Served]:
    body = Body(words, requires)
    bodies = {"status": body, "forbidden": body}
    async with serving(Offers(features={"prompts/list": prompts}, bodies=bodies, asks_clients=True)) as served:
        yield served


def call(tool: str = "status", **params: Any) -> dict[str, Any]:
    return modern("tools/call", {"name": tool, "arguments": {"target": "web-1"}, **params})


async def send(served: Served, body: dict[str, Any], token: str = "agent") -> dict[str, Any]:
    async with served.client(token) as client:
        response = await client.post("/mcp", json=body, headers=headers_of(body))
    document: dict[str, Any] = response.json()
    return document


def code(answer: dict[str, Any]) -> int | None:
    """The code of an error; None for a result."""
    found: int | None = answer.get("error", {}).get("code")
    return found


@pytest.mark.parametrize("method", ["tools/call", "tools/list", "tasks/get", "initialize", "server/discover"])
def test_what_is_governed_is_not_to_be_offered(method: str) -> None:
    with pytest.raises(ValueError, match="is not to be offered"):
        Offers(features={method: prompts})


async def test_a_feature_is_behind_authentication_and_announced() -> None:
    async with offering(stateful) as served:
        body = modern("prompts/list")
        async with served.client(None) as client:
            assert (await client.post("/mcp", json=body, headers=headers_of(body))).status_code == 401
        assert (await send(served, body))["result"]["prompts"] == []
        assert "prompts" in (await send(served, modern("server/discover")))["result"]["capabilities"]


async def test_a_denied_call_is_worded_by_the_gateway_alone() -> None:
    async with offering(stateful) as served:
        denied = (await send(served, call("forbidden")))["result"]
        assert denied["isError"] is True and denied["structuredContent"]["status"] == "denied"


async def test_a_missing_client_capability_is_said_before_anything_is_admitted() -> None:
    async with offering(stateful, types.ClientCapabilities(sampling=types.SamplingCapability())) as served:
        error = (await send(served, call()))["error"]
        assert error["code"] == -32021 and error["data"] == {"requiredCapabilities": {"sampling": {}}}
        assert served.door.calls == []


async def test_each_round_is_admitted_anew_and_its_state_is_sealed() -> None:
    async with offering(stateful) as served:
        state = (await send(served, call()))["result"]["requestState"]
        assert "round" not in state
        done = await send(served, call(requestState=state))
        assert done["result"]["content"][0]["text"] == "round one"
        assert len(served.door.calls) == 2


async def test_a_state_is_good_once_for_its_caller_and_its_arguments() -> None:
    async with offering(stateful) as served:
        state = (await send(served, call()))["result"]["requestState"]
        other = call(requestState=state)
        other["params"]["arguments"] = {"target": "web-2"}
        calls = len(served.door.calls)
        assert code(await send(served, other)) == -32602
        for body in (call(requestState=state), call(requestState="plain")):
            assert code(await send(served, body)) == -32602
        fresh = (await send(served, call()))["result"]["requestState"]
        assert code(await send(served, call(requestState=fresh), "other")) == -32602
        assert len(served.door.calls) == calls + 1  # only the call that asked for a fresh one was admitted


def test_a_used_state_is_never_good_again() -> None:
    now = [1000.0]
    codec = OneTimeCodec(lambda: now[0])
    token = codec.seal(b"state")
    assert codec.unseal(token) == b"state"
    with pytest.raises(InvalidRequestState, match="used before"):
        codec.unseal(token)
    now[0] += TTL_SECONDS + 1
    with pytest.raises(InvalidRequestState, match="used before"):
        codec.unseal(token)  # never good again, and expired by its own claims anyway


def legacy(tool: str = "status") -> dict[str, Any]:
    params = {"name": tool, "arguments": {"target": "web-1"}}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}


async def reply(served: Served, asked: dict[str, Any], token: str = "agent", **changes: Any) -> int:
    """POST an answer to a request of the server's."""
    answer = {"action": "accept", "content": {"name": "Ada"}}
    document = {"jsonrpc": "2.0", "id": asked["id"], "result": answer, **changes}
    document = {name: value for name, value in document.items() if value is not None}
    async with served.client(token) as client:
        sent = {"mcp-protocol-version": "2025-11-25", "content-type": "application/json"}
        return (await client.post("/mcp", content=json.dumps(document), headers=sent)).status_code


async def asked_by(events: Events) -> dict[str, Any]:
    asked = await events.next()
    assert asked["method"] == "elicitation/create" and asked["id"].startswith("ask_")
    return asked


async def test_an_older_client_is_asked_on_the_way_and_answers_by_a_post_of_its_own() -> None:
    async with offering(elicits) as served, posted(served, legacy(), **LEGACY) as events:
        assert await reply(served, await asked_by(events)) == 202
        last = await events.next()
    assert last["id"] == 1 and "accept" in last["result"]["content"][0]["text"] and "Ada" in str(last)


async def test_only_who_was_asked_may_answer_and_only_once() -> None:
    async with offering(elicits) as served, posted(served, legacy(), **LEGACY) as events:
        asked = await asked_by(events)
        assert await reply(served, asked, "other") == 400
        assert await reply(served, {"id": "ask_unknown"}) == 400
        assert await reply(served, asked) == 202
        await events.next()
        assert await reply(served, asked) == 400


async def test_a_clients_refusal_ends_the_call_with_its_reason() -> None:
    async with offering(elicits) as served, posted(served, legacy(), **LEGACY) as events:
        asked = await asked_by(events)
        assert await reply(served, asked, result=None, error={"code": -1, "message": "not now"}) == 202
        last = await events.next()
    assert last["error"]["code"] == -1 and "not now" in last["error"]["message"]


async def test_a_client_that_reads_no_stream_and_one_of_the_newer_protocol_are_not_asked() -> None:
    async with offering(elicits) as served:
        async with served.client() as client:
            sent = {"mcp-protocol-version": "2025-11-25", "accept": "application/json"}
            older = await client.post("/mcp", json=legacy(), headers=sent)
        assert "error" in older.json() and "ask_" not in older.text
        async with posted(served, call()) as events:
            assert "content-type: application/json" in events.head


async def test_the_product_itself_asks_nobody_and_takes_no_answers(served: Served) -> None:
    assert await reply(served, {"id": "ask_anything"}) == 400
