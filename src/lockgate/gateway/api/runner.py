"""The runners' door: mTLS identity in, contract documents in and out; it must not take an identity from a header or decide anything."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from starlette.types import Receive, Scope, Send

from lockgate.contract.codec import DocumentError, from_document, to_document
from lockgate.contract.runnerapi import CredentialNote, Heartbeat, LeaseRequest, ReceiptNote, Report, StartRequest, Stop
from lockgate.contract.strictjson import StrictJSONError, loads
from lockgate.gateway.api.answers import Fault, send_json
from lockgate.gateway.api.guard import check_json_type, read_body
from lockgate.gateway.doors import RunnerDoor, RunnerPeer
from lockgate.gateway.errors import Refusal
from lockgate.keys.pki import CertificateRefused, runner_identity
from lockgate.wire.peer import PeerCertificateMissing, peer_certificate

PREFIX: Final = "/runner/v1/"
MAX_SMALL: Final = 1 << 20
MAX_LARGE: Final = 16 << 20
"""Bytes of a start's or report's body: they carry canonical plans."""

BODY_SECONDS: Final = 60.0
MAX_ATTEMPT_ID: Final = 64

Handler = Callable[[RunnerPeer, str, Any], Awaitable[Any]]


class RunnerEndpoint:
    """The ASGI app of the runner-facing port."""

    def __init__(self, door: RunnerDoor, deployment: str) -> None:
        self._door = door
        self._deployment = deployment
        self._attempt: dict[str, tuple[type[Any], int, Handler]] = {
            "heartbeat": (Heartbeat, MAX_SMALL, door.heartbeat),
            "give-back": (Stop, MAX_SMALL, door.give_back),
            "refuse": (Stop, MAX_SMALL, door.refuse),
            "start": (StartRequest, MAX_LARGE, door.start),
            "credential": (CredentialNote, MAX_SMALL, door.credential),
            "report": (Report, MAX_LARGE, door.report),
            "receipt": (ReceiptNote, MAX_SMALL, door.receipt),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError(f"{scope['type']} is not served")
        try:
            answer = await self._answer(scope, receive)
        except Fault as fault:
            await send_json(send, fault.status, {**fault.document(), "retry": False}, fault.headers)
        except Refusal as refusal:
            await send_json(send, refusal.status, refusal.document())
        else:
            await send_json(send, 200, to_document(answer))

    async def _answer(self, scope: Scope, receive: Receive) -> Any:
        peer = self._peer(scope)
        attempt, verb = _route(scope["path"])
        if scope["method"] != "POST":
            fault = Fault(405, "method_not_allowed", "Only POST is served here.")
            fault.headers = ((b"allow", b"POST"),)
            raise fault
        if attempt is None:
            request = await _document(scope, receive, LeaseRequest, MAX_SMALL)
            return await _unless_gone(self._door.lease(peer, request), receive)
        found = self._attempt.get(verb)
        if found is None:
            raise _no_route()
        kind, limit, handler = found
        return await handler(peer, attempt, await _document(scope, receive, kind, limit))

    def _peer(self, scope: Scope) -> RunnerPeer:
        """Who the verified client certificate says this is. Raises Fault 403: none, not a runner's, or of another deployment."""
        try:
            who = runner_identity(peer_certificate(scope))
        except (PeerCertificateMissing, CertificateRefused) as error:
            raise Fault(403, "forbidden", str(error), field="client certificate") from None
        if who.deployment != self._deployment:
            raise Fault(403, "forbidden", "The certificate belongs to another deployment.", field="client certificate")
        return RunnerPeer(who.deployment, who.tenant, who.region, who.runner)


async def _unless_gone(work: Coroutine[Any, Any, Any], receive: Receive) -> Any:
    """Long work, given up when the runner has gone: nobody would hear of a lease it is handed now."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnect(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Fault(499, "gone", "The runner closed its connection.")
        return task.result()
    finally:
        task.cancel()
        gone.cancel()


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue


def runner_app(door: RunnerDoor, deployment: str) -> RunnerEndpoint:
    """The runner-facing app; serve it with `wire.peer.runner_facing_config`. `deployment` is this gateway's own."""
    return RunnerEndpoint(door, deployment)


def _route(path: str) -> tuple[str | None, str]:
    """(attempt id or None for lease, verb)."""
    if not path.startswith(PREFIX):
        raise _no_route()
    parts = path[len(PREFIX) :].split("/")
    if parts == ["lease"]:
        return None, "lease"
    if len(parts) == 3 and parts[0] == "attempts" and 0 < len(parts[1]) <= MAX_ATTEMPT_ID:
        return parts[1], parts[2]
    raise _no_route()


def _no_route() -> Fault:
    return Fault(404, "not_found", "There is no such path in the runner API.", field="path")


async def _document(scope: Scope, receive: Receive, kind: type[Any], limit: int) -> Any:
    check_json_type(scope)
    body = await read_body(scope, receive, limit, BODY_SECONDS)
    try:
        if len(body) <= MAX_SMALL:
            return from_document(kind, loads(body, max_bytes=limit))
        # A plan of some MiB takes a while to read; nobody else waits for that meanwhile.
        return await asyncio.to_thread(lambda: from_document(kind, loads(body, max_bytes=limit)))
    except StrictJSONError as error:
        raise Fault(400, "bad_json", str(error), field=error.field or "body") from None
    except DocumentError as error:
        raise Fault(400, "bad_input", str(error), field=error.field or "body") from None


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await send({"type": "lifespan.shutdown.complete"})
            return
