"""Raw requests against /mcp: everything a hostile or broken client may send."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from typing import Any

import httpx2
import pytest
from mcp.server.connection import Connection
from mcp.server.runner import ServerRunner
from tests.unit.gateway.api.serving import Served, headers_of, modern, serving

from lockgate.gateway.api.rpc import read_message

CALL = modern("tools/call", {"name": "deploy", "arguments": {"target": "web-1"}})
JSON = {"content-type": "application/json"}


async def post(served: Served, body: bytes | dict[str, Any], **headers: str) -> httpx2.Response:
    """POST a body with the headers of CALL, changed by `headers` (underscores are hyphens; an empty value drops one)."""
    sent = {**JSON, **headers_of(CALL), **{name.replace("_", "-"): value for name, value in headers.items()}}
    sent = {name: value for name, value in sent.items() if value}
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with served.client() as client:
        return await client.post("/mcp", content=content, headers=sent)


def error(response: httpx2.Response, status: int, code: int) -> str:
    """The message of a JSON-RPC error of that status and code."""
    assert response.status_code == status, response.text
    document = response.json()
    assert document["jsonrpc"] == "2.0" and document["error"]["code"] == code, document
    return str(document["error"]["message"])


async def test_a_good_call_is_answered(served: Served) -> None:
    response = await post(served, CALL)
    assert response.status_code == 200 and response.json()["result"]["structuredContent"]["status"] == "queued"
    assert response.json()["result"]["resultType"] == "complete" and "_meta" not in response.json()
    assert response.headers["cache-control"] == "no-store" and response.headers["x-content-type-options"] == "nosniff"
    assert "mcp-session-id" not in response.headers and "server" not in response.headers


async def test_a_call_leaves_nothing_for_the_collector(served: Served) -> None:
    """A cycle of every call makes the collector hold up the event loop for milliseconds, once in a thousand calls."""
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            assert (await post(served, CALL)).status_code == 200
        deadline = time.monotonic() + 60
        while left := [one for one in gc.get_objects() if isinstance(one, ServerRunner | Connection)]:
            assert time.monotonic() < deadline, f"{len(left)} objects of calls that were answered are still there"
            left.clear()
            await asyncio.sleep(0.01)  # the task that answered the last one may not have ended
    finally:
        gc.enable()


@pytest.mark.parametrize("host", ["evil.test", "gate.test:80.evil.test", "gate.test", "127.0.0.1"])
async def test_a_foreign_host_is_refused(served: Served, host: str) -> None:
    response = await post(served, CALL, host=host)
    assert response.status_code == 421 and response.json()["code"] == "bad_host"
    assert served.door.calls == []


async def test_a_listed_host_is_served(served: Served) -> None:
    assert (await post(served, CALL, host="gate.test:8443")).status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.test", "null", "https://app.test.evil.test", "http://app.test"])
async def test_a_foreign_origin_is_refused(served: Served, origin: str) -> None:
    response = await post(served, CALL, origin=origin)
    assert response.status_code == 403 and response.json()["code"] == "bad_origin"
    assert served.door.calls == []


async def test_own_and_listed_origins_are_served(served: Served) -> None:
    assert (await post(served, CALL, origin=served.url)).status_code == 200
    assert (await post(served, CALL, origin="https://app.test")).status_code == 200


async def test_a_10_mb_body_is_refused_by_its_declared_length(served: Served) -> None:
    assert "larger than 1048576 bytes" in error(await post(served, b"x" * 10_000_000), 413, -32600)


async def test_a_10_mb_body_without_a_declared_length_is_refused_while_it_streams(served: Served) -> None:
    sent = 0

    async def chunks() -> Any:
        nonlocal sent
        for _ in range(1000):
            sent += 10_000
            yield b"x" * 10_000

    async with served.client() as client:
        response = await client.post("/mcp", content=chunks(), headers={**JSON, **headers_of(CALL)})
    error(response, 413, -32600)
    assert served.door.calls == []


async def test_a_body_that_never_ends_times_out() -> None:
    async with serving(body_seconds=1.0) as served:
        host, port = served.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        head = f"POST /mcp HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer agent\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: 100\r\n\r\n{{".encode())
        answer = await asyncio.wait_for(reader.read(), 60)
        assert answer.startswith(b"HTTP/1.1 408") and b"did not arrive within 1 seconds" in answer
        writer.close()


BAD_JSON = {
    "duplicate keys": (b'{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}', "stands twice"),
    "duplicate arguments": (b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":{"b":1,"b":2}}}', "'b' stands twice"),
    "NaN": (b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":NaN}}', "NaN"),
    "infinity": (b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":1e999}}', "finite"),
    "a huge number": (b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":' + b"9" * 5000 + b"}}", "2**53-1"),
    "deep nesting": (b'{"jsonrpc":"2.0","id":1,"method":"x","params":' + b"[" * 100_000 + b"}", "deeper than 32"),
    "invalid UTF-8": (b'{"jsonrpc":"2.0","id":1,"method":"\xff\xfe"}', "not UTF-8 at byte"),
    "a lone surrogate": (b'{"jsonrpc":"2.0","id":1,"method":"\\ud800"}', "surrogate"),
    "nothing": (b"", "not JSON"),
    "a cut": (b'{"jsonrpc":"2.0"', "not JSON"),
    "two documents": (b"{}{}", "not JSON"),
}


@pytest.mark.parametrize("name", BAD_JSON)
async def test_json_that_could_be_read_two_ways_is_refused(served: Served, name: str) -> None:
    body, words = BAD_JSON[name]
    for version in ("2026-07-28", "2025-11-25", ""):
        assert words in error(await post(served, body, mcp_protocol_version=version), 400, -32700)
    assert served.door.calls == []


BAD_ENVELOPE: dict[str, Any] = {
    "a batch": [CALL],
    "a string": "hello",
    "no version": {"id": 1, "method": "ping"},
    "another version": {"jsonrpc": "1.0", "id": 1, "method": "ping"},
    "no method": {"jsonrpc": "2.0", "id": 1},
    "a method that is no string": {"jsonrpc": "2.0", "id": 1, "method": 5},
    "a null id": {"jsonrpc": "2.0", "id": None, "method": "ping"},
    "a boolean id": {"jsonrpc": "2.0", "id": True, "method": "ping"},
    "a fractional id": {"jsonrpc": "2.0", "id": 1.5, "method": "ping"},
    "a long id": {"jsonrpc": "2.0", "id": "x" * 300, "method": "ping"},
    "an unknown member": {"jsonrpc": "2.0", "id": 1, "method": "ping", "extra": 1},
    "a response": {"jsonrpc": "2.0", "id": 1, "result": {}},
    "params as a list": {"jsonrpc": "2.0", "id": 1, "method": "ping", "params": []},
}


@pytest.mark.parametrize("name", BAD_ENVELOPE)
async def test_a_malformed_envelope_is_refused(served: Served, name: str) -> None:
    body = json.dumps(BAD_ENVELOPE[name]).encode()
    for version in ("2026-07-28", "2025-11-25"):
        error(await post(served, body, mcp_protocol_version=version), 400, -32600)


MISMATCHES = {
    "version": {"mcp_protocol_version": "2025-11-25"},
    "no version": {"mcp_protocol_version": ""},
    "method": {"mcp_method": "tools/list"},
    "no method": {"mcp_method": ""},
    "name": {"mcp_name": "wipe"},
    "no name": {"mcp_name": ""},
    "bad base64": {"mcp_name": "=?base64?!!!?="},
    "base64 of another name": {"mcp_name": "=?base64?d2lwZQ==?="},
}


@pytest.mark.parametrize("name", MISMATCHES)
async def test_headers_that_contradict_the_body_are_refused(served: Served, name: str) -> None:
    error(await post(served, CALL, **MISMATCHES[name]), 400, -32020)
    assert served.door.calls == []


async def test_header_values_are_decoded(served: Served) -> None:
    assert (await post(served, CALL, mcp_name="=?base64?ZGVwbG95?=")).status_code == 200


def test_header_values_are_trimmed() -> None:
    raw = {"mcp-protocol-version": "2026-07-28\t", "mcp-method": " tools/call", "mcp-name": " deploy "}
    scope = {"headers": [(name.encode(), value.encode()) for name, value in raw.items()]}
    assert read_message(CALL, scope).headers == headers_of(CALL)


@pytest.mark.parametrize("header", [{"mcp_method": "tools/list"}, {"mcp_name": "wipe"}])
async def test_the_older_protocol_refuses_contradicting_headers_too(served: Served, header: dict[str, str]) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "deploy", "arguments": {}}}
    error(await post(served, body, mcp_protocol_version="2025-11-25", **header), 400, -32020)
    assert served.door.calls == []


@pytest.mark.parametrize("name", ["mcp-method", "mcp-name", "mcp-protocol-version"])
async def test_a_repeated_routing_header_is_refused(served: Served, name: str) -> None:
    headers = [*JSON.items(), *headers_of(CALL).items(), (name, headers_of(CALL)[name])]
    async with served.client() as client:
        response = await client.post("/mcp", content=json.dumps(CALL).encode(), headers=headers)
    assert "stands twice" in error(response, 400, -32020)


async def test_an_unsupported_version_names_the_supported_ones(served: Served) -> None:
    body = json.loads(json.dumps(CALL).replace("2026-07-28", "2099-01-01"))
    response = await post(served, body, mcp_protocol_version="2099-01-01")
    error(response, 400, -32022)
    assert response.json()["error"]["data"]["supported"] == ["2026-07-28"]


async def test_a_request_without_its_envelope_names_the_missing_keys(served: Served) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "deploy"}}
    assert "clientCapabilities" in error(await post(served, body), 400, -32602)


async def test_an_unknown_method_is_404(served: Served) -> None:
    for method in ("nothing/here", "resources/list"):
        error(await post(served, modern(method), mcp_method=method, mcp_name=""), 404, -32601)


@pytest.mark.parametrize("params", [{"name": 5}, {"name": "deploy", "arguments": []}, {"arguments": {}}])
async def test_a_malformed_call_names_the_field(served: Served, params: dict[str, Any]) -> None:
    message = error(await post(served, modern("tools/call", params)), 400, -32602)
    assert message.startswith("params.")


async def test_a_notification_is_accepted_without_a_body(served: Served) -> None:
    body = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
    for version in ("2026-07-28", "2025-11-25", ""):
        response = await post(served, body, mcp_protocol_version=version, mcp_method="", mcp_name="")
        assert response.status_code == 202 and response.content == b""


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "OPTIONS"])
async def test_only_post_is_spoken(served: Served, method: str) -> None:
    async with served.client() as client:
        response = await client.request(method, "/mcp")
    assert response.status_code == 405 and response.headers["allow"] == "POST"


async def test_content_type_and_accept_are_checked(served: Served) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1", ""):
        error(await post(served, CALL, content_type=kind), 415, -32600)
    error(await post(served, CALL, content_encoding="gzip"), 415, -32600)
    error(await post(served, CALL, accept="text/html"), 406, -32600)
    assert (await post(served, CALL, content_type='application/json; charset="UTF-8"')).status_code == 200


async def test_a_missing_or_wrong_token_is_401_with_the_metadata(served: Served) -> None:
    for token in (None, "human", "garbage"):
        async with served.client(token) as client:
            response = await client.post("/mcp", json=CALL, headers=headers_of(CALL))
        assert response.status_code == 401
        challenge = response.headers["www-authenticate"]
        metadata = f'resource_metadata="{served.url}/.well-known/oauth-protected-resource/mcp"'
        assert challenge.startswith("Bearer ") and metadata in challenge and 'scope="lockgate:agent"' in challenge
        assert ('error="invalid_token"' in challenge) == (token is not None)
    assert served.door.calls == []


async def test_a_token_without_the_scope_is_403(served: Served) -> None:
    async with served.client("scopeless") as client:
        response = await client.post("/mcp", json=CALL, headers=headers_of(CALL))
    assert response.status_code == 403 and 'error="insufficient_scope"' in response.headers["www-authenticate"]


async def test_a_token_is_taken_from_one_authorization_header_only(served: Served) -> None:
    async with served.client(None) as client:
        assert (await client.post("/mcp?access_token=agent", json=CALL, headers=headers_of(CALL))).status_code == 401
        both = [*headers_of(CALL).items(), ("authorization", "Bearer agent"), ("authorization", "Bearer human")]
        assert (await client.post("/mcp", json=CALL, headers=both)).status_code == 400
        basic = {**headers_of(CALL), "authorization": "Basic agent"}
        assert (await client.post("/mcp", json=CALL, headers=basic)).status_code == 401


async def test_metadata_is_served_without_a_token(served: Served) -> None:
    async with served.client(None) as client:
        for path, resource in (("", "/mcp"), ("/mcp", "/mcp"), ("/api", "/api")):
            document = (await client.get("/.well-known/oauth-protected-resource" + path)).json()
            assert document["resource"] == served.url + resource
            assert document["authorization_servers"] == ["https://issuer"]


@pytest.mark.parametrize("letter", ["a", "é", "\\", '"', " "])
async def test_900_kb_of_one_letter_are_passed_on_in_linear_time(served: Served, letter: str) -> None:
    size = 900_000 // len(json.dumps(letter)[1:-1])
    body = modern("tools/call", {"name": "deploy", "arguments": {"target": "web-1", "text": letter * size}})
    before = time.process_time()
    response = await post(served, body)
    # A quadratic reader would need minutes; a generous bound on CPU time, not on the wall.
    assert response.status_code == 200 and time.process_time() - before < 10
    assert served.door.calls[0][1].arguments["text"] == letter * size


async def test_a_long_tool_name_is_not_echoed_whole(served: Served) -> None:
    name = "n" * 100_000
    response = await post(served, modern("tools/call", {"name": name, "arguments": {}}), mcp_name="n" * 4000)
    assert len(response.content) < 1000


async def test_concurrent_callers_keep_their_own_principal(served: Served) -> None:
    async with served.client() as client:
        texts = [str(number) for number in range(20)]
        bodies = [modern("tools/call", {"name": "deploy", "arguments": {"text": text}}, text) for text in texts]
        answers = await asyncio.gather(*(client.post("/mcp", json=body, headers=headers_of(body)) for body in bodies))
    assert [answer.json()["id"] for answer in answers] == texts
    assert {who.subject for who, _ in served.door.calls} == {"agent-1"}


async def test_health_says_what_is_unsafe_and_needs_no_token(served: Served) -> None:
    async with served.client(None) as client:
        response = await client.get("/healthz")
        assert response.json() == {"ready": True, "dev": True, "unsafe": ["no-sandbox"]}
        assert (await client.get("/nothing")).json()["code"] == "not_found"
        assert (await client.post("/healthz")).json()["code"] == "method_not_allowed"
        assert (await client.get("/mcp/")).status_code == 404
