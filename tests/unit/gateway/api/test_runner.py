"""The runner-facing app: identity from the certificate only, contract documents in and out."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from tests.unit.gateway.api.memorydoor import DIGEST, MemoryRunnerDoor

from lockgate.contract.codec import to_document
from lockgate.contract.runnerapi import (
    CredentialNote,
    Heartbeat,
    LeaseRequest,
    ReceiptNote,
    Report,
    StageReport,
    StartRequest,
    Stop,
)
from lockgate.gateway.api.runner import runner_app
from lockgate.gateway.doors import RunnerPeer
from lockgate.keys.pki import CertificateAuthority, RunnerIdentity, certificate_der
from lockgate.wire.peer import EXTENSION

PEER = RunnerPeer("home", "default", "local", "r1")
DOCUMENTS: dict[str, Any] = {
    "heartbeat": Heartbeat(3),
    "give-back": Stop(3, "no tool"),
    "refuse": Stop(3, "wider"),
    "start": StartRequest(3, DIGEST, None, None),
    "credential": CredentialNote(3, "issued", "write", "acc", 60),
    "report": Report(3, (StageReport("manifest", "plan", None),)),
    "receipt": ReceiptNote("receipt"),
}


NOW = 1_800_000_000_000
AUTHORITY = CertificateAuthority.create("home", NOW)


def certificate(deployment: str = "home") -> bytes:
    """A runner's certificate (DER)."""
    return certificate_der(AUTHORITY.runner(RunnerIdentity(deployment, "default", "local", "r1"), NOW).certificate)


class Line:
    """One runner's connection: the app behind ASGI with the certificate TLS would have verified."""

    def __init__(self, certificate: bytes | None) -> None:
        self.door = MemoryRunnerDoor()
        app = runner_app(self.door, "home")

        async def over_tls(scope: Any, receive: Any, send: Any) -> None:
            extensions = {} if certificate is None else {EXTENSION: certificate}
            await app({**scope, "extensions": extensions}, receive, send)

        self.client = httpx2.AsyncClient(transport=httpx2.ASGITransport(over_tls), base_url="https://gateway")

    async def post(self, path: str, document: Any, **headers: str) -> httpx2.Response:
        return await self.client.post("/runner/v1/" + path, json=document, headers=headers)


@pytest.fixture
def line() -> Line:
    return Line(certificate())


async def test_a_lease_is_answered_as_a_document(line: Line) -> None:
    request = LeaseRequest("poll", ("runbook",), 5, None)
    response = await line.post("lease", to_document(request))
    assert response.json() == {"offer": None, "checkpoint": "checkpoint", "consistency": ["ab"]}
    assert line.door.calls == [("lease", PEER, request)]


@pytest.mark.parametrize("verb", DOCUMENTS)
async def test_each_verb_reaches_its_attempt(line: Line, verb: str) -> None:
    response = await line.post(f"attempts/at_1/{verb}", to_document(DOCUMENTS[verb]))
    assert response.status_code == 200, response.text
    assert line.door.calls == [(verb, PEER, "at_1", DOCUMENTS[verb])]


async def test_without_a_certificate_nothing_is_served() -> None:
    line = Line(None)
    response = await line.post("lease", {}, **{"x-client-cert": "MIIB", "x-forwarded-client-cert": "URI=spiffe://home"})
    assert response.status_code == 403 and response.json()["field"] == "client certificate"
    assert line.door.calls == []


@pytest.mark.parametrize("der", ["other", b"garbage"])
async def test_a_foreign_certificate_is_refused(der: Any) -> None:
    line = Line(der if isinstance(der, bytes) else certificate(der))
    response = await line.post("attempts/at_1/start", to_document(DOCUMENTS["start"]))
    assert response.status_code == 403 and response.json()["code"] == "forbidden"
    assert line.door.calls == []


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({}, "fence"),
        ({"fence": "3"}, "fence"),
        ({"fence": True}, "fence"),
        ({"fence": 3, "more": 1}, "more"),
        ([], "body"),
    ],
)
async def test_a_document_of_another_shape_names_the_field(line: Line, document: Any, field: str) -> None:
    response = await line.post("attempts/at_1/heartbeat", document)
    assert response.status_code == 400 and response.json()["field"] == field
    assert line.door.calls == []


async def test_only_starts_and_reports_may_be_large(line: Line) -> None:
    large = {**to_document(DOCUMENTS["start"]), "plan": "x" * (2 << 20)}
    assert (await line.post("attempts/at_1/start", large)).status_code == 200
    assert (await line.post("attempts/at_1/refuse", {"fence": 3, "reason": "x" * (2 << 20)})).status_code == 413
    assert (await line.post("attempts/at_1/start", {**large, "plan": "x" * (17 << 20)})).status_code == 413


async def test_strict_json_content_type_paths_and_methods(line: Line) -> None:
    kind = {"content-type": "application/json"}
    url = "/runner/v1/attempts/at_1/heartbeat"
    twice = await line.client.post(url, content=b'{"fence":1,"fence":2}', headers=kind)
    assert twice.status_code == 400 and twice.json()["code"] == "bad_json"
    assert (await line.client.post(url, content=b'{"fence":1}')).status_code == 415
    assert (await line.client.get(url)).status_code == 405
    for path in ("attempts/at_1/nothing", "attempts//start", "attempts/" + "x" * 65 + "/start", "lease/", "x"):
        assert (await line.post(path, {})).status_code == 404
    assert line.door.calls == []


async def test_a_refusal_keeps_its_status_and_says_whether_to_retry(line: Line) -> None:
    response = await line.post("attempts/at_late/start", to_document(DOCUMENTS["start"]))
    assert response.status_code == 409
    assert response.json() == {"code": "conflict", "message": "already started", "retry": False}
