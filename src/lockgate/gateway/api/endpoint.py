"""The ASGI app of /mcp, for protocol 2026-07-28 and those before it at one URL: POST only, one message in, one answer out."""

from __future__ import annotations

import asyncio

from starlette.types import Receive, Scope, Send

from lockgate.gateway.api.answers import INVALID_REQUEST, PARSE_ERROR, Fault, Headers, rpc_error
from lockgate.gateway.api.authn import Doorkeeper
from lockgate.gateway.api.backchannel import Backchannel, is_response
from lockgate.gateway.api.exchange import Caller
from lockgate.gateway.api.guard import check_json_type, one_header, parse_json, read_body
from lockgate.gateway.api.line import ClientGone, Line
from lockgate.gateway.api.mcp import mcp_server
from lockgate.gateway.api.offers import NOTHING, Offers
from lockgate.gateway.api.rpc import Reply, RpcFault, dispatch, read_message
from lockgate.gateway.api.settings import WebSettings
from lockgate.gateway.doors import AgentDoor


class McpEndpoint:
    """One per gateway process; `offers` are features beside the governed tools, none in the product."""

    def __init__(self, door: AgentDoor, web: WebSettings, doorkeeper: Doorkeeper, offers: Offers = NOTHING) -> None:
        self._server = mcp_server(door, offers)
        self._web = web
        self._doorkeeper = doorkeeper
        self._backchannel = Backchannel() if offers.asks_clients else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        line = Line(receive, send, events=False)
        headers: Headers = ()
        try:
            try:
                reply = await self._answer(scope, receive, line)
            except RpcFault as fault:
                reply = Reply(fault.status, fault.document)
            except Fault as fault:
                code = PARSE_ERROR if fault.code == "bad_json" else INVALID_REQUEST
                reply = Reply(fault.status, rpc_error(None, code, fault.message, fault.document()))
                headers = fault.headers
            await line.answer(reply.status, reply.document, headers)
        except ClientGone:
            return
        except asyncio.CancelledError:
            # Cancelled because the client left, which ends the exchange and nothing else; any other cancellation is passed on.
            task = asyncio.current_task()
            if not line.left or task is None or task.uncancel() > 0:
                raise
        finally:
            line.close()

    async def _answer(self, scope: Scope, receive: Receive, line: Line) -> Reply:
        if scope["method"] != "POST":
            fault = Fault(
                405, "method_not_allowed", "MCP is spoken by POST here; there is no stream to open or session to end."
            )
            fault.headers = ((b"allow", b"POST"),)
            raise fault
        self._doorkeeper.principal(scope)
        check_json_type(scope)
        line.events = _accepts_events(scope)
        body = await read_body(scope, receive, self._web.max_body, self._web.body_seconds)
        # A body may take its time; what was revoked or expired meanwhile no longer counts.
        principal = self._doorkeeper.principal(scope)
        message = parse_json(body, self._web.max_body)
        if self._backchannel is not None and is_response(message) and self._backchannel.answer(principal, message):
            return Reply(202, None)
        inbound = read_message(message, scope)
        if inbound.id is None:
            return Reply(202, None)
        return await dispatch(self._server, inbound, Caller(principal, len(body), line), self._backchannel)


def _accepts_events(scope: Scope) -> bool:
    """Whether the client reads event streams. Raises Fault when it does not take JSON, which most answers are."""
    accept = one_header(scope, b"accept")
    if accept is None:
        return False
    kinds = {part.partition(";")[0].strip().lower() for part in accept.split(",")}
    if not kinds & {"application/json", "application/*", "*/*"}:
        raise Fault(406, "not_acceptable", "Answers are application/json; accept that.", field="accept")
    return "text/event-stream" in kinds
