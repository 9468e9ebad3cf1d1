import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.unit.wire.conftest import IDENTITY, Pki, serving

from lockgate.keys.pki import CertificateAuthority, runner_identity
from lockgate.keys.tls import runner_client
from lockgate.wire.client import MAX_BODY_BYTES, GatewayClient, GatewayRefused, GatewayUnavailable
from lockgate.wire.peer import PeerCertificateMissing, peer_certificate


async def read_body(receive: Any) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


async def answer(send: Any, status: int, body: bytes, headers: Any = ()) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})


async def echo(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        return
    body = json.loads(await read_body(receive))
    who = runner_identity(peer_certificate(scope))
    await answer(
        send, 200, json.dumps({"who": who.uri, "path": scope["path"], "peer": scope["client"][1], "got": body}).encode()
    )


def answering(status: int, body: bytes, headers: Any = ()) -> Any:
    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        await read_body(receive)
        await answer(send, status, body, headers)

    return app


async def test_a_runner_is_known_by_its_certificate_and_its_connection_is_kept(pki: Pki) -> None:
    async with serving(echo, pki.server()) as url:
        client = GatewayClient(url, pki.client())
        first = await client.post("/runner/v1/lease", {"poll_id": "ü"}, 20)
        second = await client.post("/runner/v1/lease", {"poll_id": "2"}, 20)
        await client.close()
    assert first["who"] == IDENTITY.uri
    assert first["got"] == {"poll_id": "ü"}
    assert first["path"] == "/runner/v1/lease"
    assert first["peer"] == second["peer"]


async def test_calls_at_the_same_time_do_not_wait_for_each_other(pki: Pki) -> None:
    together = asyncio.Event()
    waiting = 0

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        nonlocal waiting
        if scope["type"] == "lifespan":
            return
        await read_body(receive)
        waiting += 1
        if waiting == 6:
            together.set()
        await together.wait()
        await answer(send, 200, b"{}")

    async with serving(app, pki.server()) as url:
        client = GatewayClient(url, pki.client())
        assert await asyncio.gather(*(client.post("/", {}, 30) for _ in range(6))) == [{}] * 6
        await client.close()


async def test_a_header_cannot_name_a_peer(pki: Pki) -> None:
    scope = {"headers": [(b"lockgate.peer_certificate", b"x"), (b"x-client-cert", b"x")]}
    with pytest.raises(PeerCertificateMissing):
        peer_certificate(scope)


@pytest.mark.parametrize("certificate", ["foreign", "none", "a gateway's"])
async def test_a_client_without_a_runner_certificate_of_this_ca_never_reaches_the_application(
    pki: Pki, certificate: str
) -> None:
    reached = []

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        reached.append(scope["type"])

    server = pki.server()
    foreign = CertificateAuthority.create("acme", pki.now)
    if certificate == "none":
        context = ssl.create_default_context(cafile=str(pki.directory / "gateway" / "ca.pem"))
    elif certificate == "foreign":
        context = runner_client(pki.files("posing", foreign.runner(IDENTITY, pki.now)))
        context.load_verify_locations(str(pki.directory / "gateway" / "ca.pem"))
    else:
        context = runner_client(pki.files("posing", pki.authority.gateway(pki.now)))
    async with serving(app, server) as url:
        # An alert says `tls`; without one (asyncio's server sends none before 3.12) the message names the certificate.
        with pytest.raises((GatewayRefused, GatewayUnavailable), match=r"tls|certificate|reset"):
            await GatewayClient(url, context).post("/", {}, 20)
    assert "http" not in reached


async def test_a_gateway_of_another_ca_is_refused_before_anything_is_sent(pki: Pki) -> None:
    reached = []

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        reached.append(scope["type"])

    foreign = CertificateAuthority.create("acme", pki.now)
    context = runner_client(pki.files("pinned", pki.authority.runner(IDENTITY, pki.now), foreign))
    async with serving(app, pki.server()) as url:
        with pytest.raises(GatewayRefused) as caught:
            await GatewayClient(url, context).post("/", {}, 20)
    assert caught.value.code == "tls"
    assert "http" not in reached


async def test_a_runner_certificate_cannot_serve_as_the_gateway(pki: Pki) -> None:
    from lockgate.keys.tls import runner_facing_server

    context = runner_facing_server(pki.files("posing", pki.authority.runner(IDENTITY, pki.now)))
    async with serving(echo, context) as url:
        with pytest.raises(GatewayRefused) as caught:
            await GatewayClient(url, pki.client()).post("/", {}, 20)
    assert caught.value.code == "tls"


async def test_a_closed_port_is_temporary_and_nothing_was_sent(pki: Pki) -> None:
    with pytest.raises(GatewayUnavailable) as caught:
        await GatewayClient("https://127.0.0.1:1", pki.client()).post("/", {}, 20)
    assert caught.value.sent is False


async def test_the_deadline_covers_an_answer_that_drips(pki: Pki) -> None:
    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        with contextlib.suppress(asyncio.CancelledError):
            # Not inside `wait_for`: Python 3.11's loses a cancellation that comes as its wait ends, and this would drip for ever.
            while True:
                await asyncio.sleep(0.05)
                await send({"type": "http.response.body", "body": b" ", "more_body": True})

    async with serving(app, pki.server()) as url:
        with pytest.raises(GatewayUnavailable, match="no answer within"):
            await GatewayClient(url, pki.client()).post("/", {}, 0.7)


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (400, b'{"code":"bad_input","message":"no"}', "bad_input"),
        (404, b"not json", "http_404"),
        (302, b"{}", "http_302"),
        (200, b'{"a":1,"a":2}', "bad_response"),
        (200, b"[]", "bad_response"),
        (200, b'{"a":NaN}', "bad_response"),
        (200, b"", "bad_response"),
    ],
)
async def test_a_refusal_or_nonsense_is_permanent(pki: Pki, status: int, body: bytes, code: str) -> None:
    async with serving(answering(status, body, [(b"location", b"https://127.0.0.1/")]), pki.server()) as url:
        with pytest.raises(GatewayRefused) as caught:
            await GatewayClient(url, pki.client()).post("/", {}, 20)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (503, b'{"code":"unavailable","message":"busy","retry":true,"retry_after_seconds":1.5}'),
        (500, b"oops"),
        (429, b"{}"),
    ],
)
async def test_trouble_of_the_gateway_is_temporary(pki: Pki, status: int, body: bytes) -> None:
    async with serving(answering(status, body), pki.server()) as url:
        with pytest.raises(GatewayUnavailable) as caught:
            await GatewayClient(url, pki.client()).post("/", {}, 20)
    assert caught.value.retry_after == (1.5 if status == 503 else None)


async def test_an_answer_beyond_the_bound_is_refused(pki: Pki) -> None:
    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        with contextlib.suppress(Exception):
            for _ in range(20):
                await send({"type": "http.response.body", "body": b" " * (1 << 20), "more_body": True})

    async with serving(app, pki.server()) as url:
        with pytest.raises(GatewayRefused, match="larger than"):
            await GatewayClient(url, pki.client()).post("/", {}, 30)


async def test_a_request_beyond_the_bound_is_not_sent(pki: Pki) -> None:
    with pytest.raises(ValueError, match="at most"):
        await GatewayClient("https://127.0.0.1:1", pki.client()).post("/", {"a": "x" * MAX_BODY_BYTES}, 20)


@pytest.mark.parametrize(
    "url", ["http://a", "https://", "https://u@a", "https://a/b", "https://a?x", "https://a#x", "a"]
)
def test_a_gateway_url_is_https_host_and_port_only(url: str) -> None:
    with pytest.raises(ValueError, match="gateway URL"):
        GatewayClient(url, ssl.create_default_context())


@pytest.mark.parametrize("path", ["x", "/a b", "/a\r\nb", "/a?b", "/ü", ""])
async def test_a_path_cannot_carry_anything_else(path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        await GatewayClient("https://127.0.0.1:1", ssl.create_default_context()).post(path, {}, 1)


@contextlib.asynccontextmanager
async def raw_server(context: ssl.SSLContext, replies: list[bytes]) -> AsyncIterator[str]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(replies.pop(0))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n",
    ],
)
async def test_an_answer_cut_short_is_temporary(pki: Pki, reply: bytes) -> None:
    async with raw_server(pki.server(), [reply]) as url:
        with pytest.raises(GatewayUnavailable) as caught:
            await GatewayClient(url, pki.client()).post("/", {}, 20)
    assert caught.value.sent is True


@pytest.mark.parametrize(
    "reply",
    [
        b"SSH-2.0-x\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * 300_000 + b"\r\n\r\n",
    ],
)
async def test_what_does_not_speak_our_http_is_refused(pki: Pki, reply: bytes) -> None:
    async with raw_server(pki.server(), [reply]) as url:
        with pytest.raises(GatewayRefused) as caught:
            await GatewayClient(url, pki.client()).post("/", {}, 20)
    assert caught.value.code == "bad_response"


async def test_a_connection_the_gateway_closed_while_idle_is_not_used_again(pki: Pki) -> None:
    reply = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
    async with raw_server(pki.server(), [reply, reply]) as url:
        client = GatewayClient(url, pki.client())
        assert await client.post("/", {}, 20) == {}
        while client._idle and not client._idle[0].reader.at_eof():  # noqa: ASYNC110  a stream offers no event
            await asyncio.sleep(0.01)
        assert await client.post("/", {}, 20) == {}
        await client.close()


async def test_a_closed_client_sends_nothing(pki: Pki) -> None:
    client = GatewayClient("https://127.0.0.1:1", pki.client())
    await client.close()
    await client.close()
    with pytest.raises(GatewayUnavailable, match="closed"):
        await client.post("/", {}, 20)
