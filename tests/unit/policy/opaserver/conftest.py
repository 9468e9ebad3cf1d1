"""A fake of an OPA, for what a real one cannot be made to do."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.looptime import PassBy, pass_by

from lockgate.contract.decision import Decision, Question
from lockgate.policy.bundle import PolicyBundle
from lockgate.policy.opaserver.endpoint import Dialer, Endpoint
from lockgate.policy.opaserver.engine import OpaServer, ServerSettings
from lockgate.testing.policy_engine import example_input

__all__ = [
    "ALLOW",
    "BUNDLE",
    "DEADLINE",
    "Fake",
    "Make",
    "PassBy",
    "Script",
    "answer",
    "ask",
    "http",
    "only_rule",
    "pass_by",
]
DEADLINE = 30
BUNDLE = PolicyBundle(wasm=b"", data=b"{}")
ALLOW = {"allow": True, "violations": [], "obligations": {}}
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def answer(result: Any = ALLOW, revision: str = BUNDLE.revision, **more: Any) -> bytes:
    document = {"provenance": {"version": "1.22.2", "bundles": {"b": {"revision": revision}}}, "result": result, **more}
    return http(json.dumps({key: value for key, value in document.items() if value is not ...}).encode())


def http(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    head = "".join(f"{header}\r\n" for header in (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers))
    return head.encode() + b"\r\n" + body


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return head + await reader.readexactly(length)


class Fake:
    """Answers every request with the next thing of `says`, the last one for ever; a thing that is no bytes is awaited."""

    def __init__(self, place: Path) -> None:
        self.place, self.requests, self.connections = place, list[bytes](), 0
        self.says: list[bytes | Script] = []
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, self.place)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
            self.place.unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while not writer.is_closing():
                self.requests.append(await read_request(reader))
                said = self.says.pop(0) if len(self.says) > 1 else self.says[0]
                if isinstance(said, bytes):
                    writer.write(said)
                else:
                    await said(reader, writer)
        writer.close()


@pytest.fixture
async def fake(tmp_path: Path) -> AsyncIterator[Fake]:
    server = Fake(tmp_path / "opa.sock")
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def make(fake: Fake) -> AsyncIterator[Callable[..., OpaServer]]:
    engines: list[OpaServer] = []

    def made(bundle: PolicyBundle = BUNDLE, look: Any = None, **settings: Any) -> OpaServer:
        settings = {"deadline": DEADLINE, **settings}
        dialer = Dialer(Endpoint.parse(f"unix://{fake.place}"), None, max_body=4096)
        engines.append(OpaServer(bundle, dialer, ServerSettings(**settings), look=look))
        return engines[-1]

    yield made
    for engine in engines:
        await engine.close()


Make = Callable[..., OpaServer]


async def ask(engine: OpaServer, question: Question = Question.REQUEST) -> Decision:
    return await engine.decide(question, example_input(question))


def only_rule(decision: Decision) -> str:
    assert not decision.allow
    (violation,) = decision.violations
    assert violation.title
    assert violation.fix
    return violation.rule
