"""Clients that leave in the middle, use one id twice, or speak another protocol at each call: every request stands for itself."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from tests.unit.gateway.api.serving import Served, headers_of, modern
from tests.unit.gateway.api.streams import posted

from lockgate.gateway.operations.states import State

WAITING = {"name": "deploy", "arguments": {"target": "web-1", "wait_seconds": 60}}
CALL = {"name": "deploy", "arguments": {"target": "web-1"}}


def legacy(version: str) -> tuple[dict[str, Any], dict[str, str]]:
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": CALL}, {"mcp-protocol-version": version}


async def test_a_client_that_leaves_ends_its_wait_and_not_its_operation(served: Served) -> None:
    host, port = served.url.removeprefix("http://").split(":")
    body = modern("tools/call", WAITING)
    _, writer = await asyncio.open_connection(host, int(port))
    data = json.dumps(body).encode()
    headers = {"Host": f"{host}:{port}", "Authorization": "Bearer agent", "Content-Type": "application/json"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in {**headers, **headers_of(body)}.items())
    writer.write(f"POST /mcp HTTP/1.1\r\n{lines}Content-Length: {len(data)}\r\n\r\n".encode() + data)
    async with asyncio.timeout(30):
        await served.door.called.wait()
        assert not served.door.left.is_set()
        writer.transport.abort()
        await served.door.left.wait()
    assert served.door.operations["op_1"].state is State.QUEUED


async def test_a_client_that_leaves_while_its_body_arrives_leaves_nothing(served: Served) -> None:
    host, port = served.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /mcp HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer agent\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: 100\r\n\r\n{{".encode())
    await writer.drain()
    writer.transport.abort()
    async with served.client() as client:  # the gateway goes on answering others
        body = modern("tools/call", CALL)
        assert (await client.post("/mcp", json=body, headers=headers_of(body))).status_code == 200
    assert len(served.door.calls) == 1


async def test_one_id_twice_at_once_is_two_requests_each_answered_on_its_own(served: Served) -> None:
    bodies = [modern("tools/call", {**CALL, "arguments": {"target": f"web-{n}"}}, request_id="same") for n in (1, 2)]
    async with served.client() as client:
        sent = [client.post("/mcp", json=body, headers=headers_of(body)) for body in bodies]
        answers = [response.json() for response in await asyncio.gather(*sent)]
    assert [answer["id"] for answer in answers] == ["same", "same"]
    assert {answer["result"]["structuredContent"]["operation_id"] for answer in answers} == {"op_1", "op_2"}


async def test_one_id_for_two_streams_is_two_subscriptions(served: Served) -> None:
    body = modern("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, request_id="same")
    async with posted(served, body) as first, posted(served, body) as second:
        for events in (first, second):
            assert (await events.next())["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"] == "same"
        first.leave()
        served.door.hidden.add("wipe")
        served.door.stir()
        assert (await second.next())["method"] == "notifications/tools/list_changed"


async def test_another_protocol_at_each_call_is_answered_in_that_calls_own(served: Served) -> None:
    async with served.client() as client:
        for version in ("2026-07-28", "2025-11-25", "2026-07-28", "2025-06-18"):
            if version == "2026-07-28":
                body = modern("tools/call", CALL)
                answer = (await client.post("/mcp", json=body, headers=headers_of(body))).json()
                assert answer["result"]["resultType"] == "complete"
            else:
                body, headers = legacy(version)
                answer = (await client.post("/mcp", json=body, headers=headers)).json()
                assert "resultType" not in answer["result"]
            assert answer["result"]["structuredContent"]["status"] == "queued"


@pytest.mark.parametrize("version", ["2025-11-25", "2024-11-05"])
async def test_a_newer_body_under_an_older_header_is_refused(served: Served, version: str) -> None:
    body = modern("tools/call", CALL)
    async with served.client() as client:
        response = await client.post("/mcp", json=body, headers={**headers_of(body), "mcp-protocol-version": version})
    assert response.status_code == 400 and response.json()["error"]["code"] == -32020
    assert served.door.calls == []


async def test_an_older_body_under_the_newer_header_is_refused(served: Served) -> None:
    body, _ = legacy("2025-11-25")
    headers = {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "deploy"}
    async with served.client() as client:
        response = await client.post("/mcp", json=body, headers=headers)
    assert response.status_code == 400 and response.json()["error"]["code"] == -32602
    assert served.door.calls == []


OMITTED = {
    "mcp-protocol-version": (400, -32020),
    "mcp-method": (400, -32020),
    "mcp-name": (400, -32020),
    "content-type": (415, -32600),
    "authorization": (401, -32600),
}


@pytest.mark.parametrize("name", OMITTED)
async def test_each_required_header_that_is_left_out_is_named(served: Served, name: str) -> None:
    body = modern("tools/call", CALL)
    sent = {**headers_of(body), "content-type": "application/json", "authorization": "Bearer agent"}
    del sent[name]
    async with served.client(None) as client:
        response = await client.post("/mcp", content=json.dumps(body), headers=sent)
    status, code = OMITTED[name]
    assert response.status_code == status and response.json()["error"]["code"] == code
    assert name in response.text.lower()
    assert served.door.calls == []


async def test_no_accept_header_is_taken_as_json(served: Served) -> None:
    body = modern("tools/call", CALL)
    async with served.client() as client:
        request = client.build_request("POST", "/mcp", json=body, headers=headers_of(body))
        del request.headers["accept"]
        response = await client.send(request)
    assert response.status_code == 200 and response.headers["content-type"] == "application/json"
