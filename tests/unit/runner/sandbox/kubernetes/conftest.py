"""A real HTTPS server on loopback that answers as a test's script says, and everything it was asked."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lockgate.keys.pki import CertificateAuthority
from lockgate.runner.sandbox.kubernetes.access import Access, Token
from lockgate.runner.sandbox.kubernetes.api import Api

PATIENCE = 60.0
"""Seconds: what a test waits for comes at once, or not at all."""


@dataclass
class Asked:
    """One request: `path` with its query, the headers, the body."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Answer:
    """One answer: a document, or lines of a watch that `ends` or else is cut in the middle."""

    status: int = 200
    document: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    events: list[Any] | None = None
    ends: bool = True
    holds: asyncio.Event | None = None


@dataclass
class ScriptedServer:
    """Answers each request with the next answer of its script, by method and path without query; what is not in the script is a 404."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    script: dict[tuple[str, str], list[Answer]] = field(default_factory=dict)
    heard: asyncio.Condition = field(default_factory=asyncio.Condition)

    def answers(self, method: str, path: str, *answers: Answer) -> None:
        self.script.setdefault((method, path), []).extend(answers)

    async def has_heard(self, path: str, times: int) -> None:
        try:
            async with asyncio.timeout(PATIENCE), self.heard:
                await self.heard.wait_for(lambda: sum(one.path == path for one in self.asked) >= times)
        except TimeoutError:
            pytest.fail(f"{path} was not asked for {times} times: {self.paths()}")

    def paths(self) -> list[str]:
        return [f"{one.method} {one.path}" for one in self.asked]

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request a connection."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            method, path, _ = head[0].split(" ")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            self.asked.append(Asked(method, path, headers, json.loads(body) if body else None))
            async with self.heard:
                self.heard.notify_all()
            left = self.script.get((method, path.partition("?")[0]), [])
            await self._say(left.pop(0) if left else Answer(404, status_of("NotFound", "not in the script")), writer)
        finally:
            writer.close()

    async def _say(self, answer: Answer, writer: asyncio.StreamWriter) -> None:
        headers = {"connection": "close", "transfer-encoding": "chunked"} | answer.headers
        lines = [f"HTTP/1.1 {answer.status} x", *(f"{name}: {value}" for name, value in headers.items())]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        whole = [answer.document or {}] if answer.events is None else answer.events
        for document in whole:
            data = json.dumps(document).encode() + b"\n"
            writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            await writer.drain()
        if answer.holds is not None:
            await answer.holds.wait()
        if answer.ends:
            writer.write(b"0\r\n\r\n")
            await writer.drain()


def status_of(reason: str, message: str, **details: Any) -> dict[str, Any]:
    """A `Status` as an API server writes it."""
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message, **details}


@pytest.fixture(scope="session")
def authority() -> CertificateAuthority:
    return CertificateAuthority.create("cluster", int(time.time() * 1000))


@pytest.fixture
async def server(authority: CertificateAuthority, tmp_path: Path) -> AsyncIterator[ScriptedServer]:
    issued = authority.gateway(int(time.time() * 1000))
    (tmp_path / "server.pem").write_bytes(issued.certificate + issued.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    scripted = ScriptedServer()
    listening = await asyncio.start_server(scripted, "127.0.0.1", 0, ssl=context)
    scripted.url = f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    yield scripted
    listening.close()


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("first-token\n")
    return path


@pytest.fixture
async def api(server: ScriptedServer, authority: CertificateAuthority, token_file: Path) -> AsyncIterator[Api]:
    context = ssl.create_default_context(cadata=authority.issued.certificate.decode())
    made = Api(Access(server.url, context, Token(token_file)))
    yield made
    await made.close()
