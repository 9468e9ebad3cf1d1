"""The agents' door: MCP streamable HTTP at one URL for protocol 2026-07-28 and 2025-11-25. It translates calls and answers; it decides nothing."""

from __future__ import annotations

from typing import Any, Final

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from starlette.types import Receive, Scope, Send

from lockgate import __version__
from lockgate.gateway.api.answers import INVALID_REQUEST, PARSE_ERROR, Fault, rpc_error, send_json
from lockgate.gateway.api.authn import Doorkeeper
from lockgate.gateway.api.guard import check_json_type, one_header, parse_json, read_body
from lockgate.gateway.api.rpc import Caller, RpcFault, dispatch, read_message
from lockgate.gateway.api.settings import WebSettings
from lockgate.gateway.api.tools import HELPERS, REFUSED, check_helper_arguments, tool_list
from lockgate.gateway.doors import AgentDoor, Call
from lockgate.gateway.errors import Refusal, UnknownAction
from lockgate.gateway.operations.advice import CANCEL_OPERATION, EXPLAIN, GET_OPERATION
from lockgate.gateway.operations.explanation import Explanation
from lockgate.gateway.operations.model import Operation
from lockgate.gateway.operations.views import agent_view, is_error, story_lines, summary_line

INSTRUCTIONS: Final = (
    "Each tool asks Lockgate for one infrastructure action. Answers carry operation_id, status and `next`: the call to make next. "
    "A call may be denied (isError with rules and fix) or wait for a person's approval (status pending_approval); "
    "do not repeat a call that waits, look at it with lockgate_get_operation. `retry` says whether the same call may end otherwise; "
    "lockgate_explain tells what happened to an operation and why."
)
Context = ServerRequestContext[Any, Caller]


def mcp_server(door: AgentDoor) -> Server[Any]:
    """The SDK's low-level server with our handlers; `ctx.request` is the Caller."""

    async def list_tools(ctx: Context, _: types.PaginatedRequestParams | None) -> dict[str, Any]:
        return tool_list(await door.actions(_caller(ctx).principal))

    async def call_tool(ctx: Context, params: types.CallToolRequestParams) -> dict[str, Any]:
        arguments = params.arguments or {}
        try:
            if params.name == EXPLAIN:
                return await _explain(door, _caller(ctx), arguments)
            return operation_result(await _call(door, _caller(ctx), params.name, arguments))
        except UnknownAction as refusal:
            # A protocol error, so that a client can tell "no such tool" from a denial, which is a result.
            raise MCPError(
                code=types.INVALID_PARAMS, message=f"Unknown tool: {params.name[:64]}", data=refusal.document()
            ) from None
        except Refusal as refusal:
            return refused_result(refusal, params.name, arguments)

    server: Server[Any] = Server("lockgate", version=__version__, title="Lockgate", instructions=INSTRUCTIONS)
    server.add_request_handler("tools/list", types.PaginatedRequestParams, list_tools)
    server.add_request_handler("tools/call", types.CallToolRequestParams, call_tool)
    return server


def _caller(ctx: Context) -> Caller:
    if ctx.request is None:
        raise RuntimeError("a request reached a handler without its caller")
    return ctx.request


async def _call(door: AgentDoor, caller: Caller, tool: str, arguments: dict[str, Any]) -> Operation:
    if tool not in HELPERS:
        return await door.call(caller.principal, Call(tool, arguments, caller.size))
    check_helper_arguments(tool, arguments)
    if tool == GET_OPERATION:
        return await door.get(caller.principal, arguments["operation_id"], float(arguments.get("wait_seconds", 0)))
    if tool == CANCEL_OPERATION:
        return await door.cancel(caller.principal, arguments["operation_id"])
    return await door.apply_plan(caller.principal, arguments)


async def _explain(door: AgentDoor, caller: Caller, arguments: dict[str, Any]) -> dict[str, Any]:
    check_helper_arguments(EXPLAIN, arguments)
    return explanation_result(await door.explain(caller.principal, arguments["operation_id"]))


def explanation_result(explanation: Explanation) -> dict[str, Any]:
    """The tool result of `lockgate_explain`: the operation with its story; explaining a denial is no error."""
    operation = explanation.operation
    return {
        "content": [{"type": "text", "text": f"{summary_line(operation)}\n{story_lines(explanation)}"}],
        "structuredContent": {**agent_view(operation), "story": explanation.story()},
        "isError": False,
        "resultType": "complete",
    }


def operation_result(operation: Operation) -> dict[str, Any]:
    """The tool result of an operation; an operation that ended without what was asked is an error result."""
    return {
        "content": [{"type": "text", "text": summary_line(operation)}],
        "structuredContent": agent_view(operation),
        "isError": is_error(operation),
        "resultType": "complete",
    }


def refused_result(refusal: Refusal, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The tool result of a call that no operation came of; `tool` and `arguments` are what was called."""
    error = refusal.document()
    where = f"{refusal.field}: " if refusal.field else ""
    retry, following = after_refusal(refusal, tool, arguments)
    text = f"Refused ({refusal.code}). {where}{refusal.message}" + (f" Fix: {refusal.fix}" if refusal.fix else "")
    return {
        "content": [{"type": "text", "text": f"{text}\nRetry: {'yes' if retry['helps'] else 'no'}. {retry['how']}"}],
        "structuredContent": {
            "status": REFUSED,
            "message": refusal.message,
            "error": error,
            "retry": retry,
            "next": following,
        },
        "isError": True,
        "resultType": "complete",
    }


def after_refusal(
    refusal: Refusal, tool: str, arguments: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """`retry` and `next` of a refusal: the very same call after a while, the operation that is there already, or a corrected call."""
    if refusal.retry_after is not None:
        how = "Nothing was done unless the message says so. Make the same call again, unchanged."
        again = {"tool": tool, "arguments": arguments, "after_seconds": refusal.retry_after}
        return {"helps": True, "after_seconds": refusal.retry_after, "how": how}, again
    if refusal.operation is not None:
        look = {"tool": GET_OPERATION, "arguments": {"operation_id": refusal.operation}, "after_seconds": 0}
        return {"helps": False, "after_seconds": None, "how": "An operation is there already; look at it."}, look
    how = "The same call is refused again." + (" Correct it as `error.fix` says." if refusal.fix else "")
    return {"helps": False, "after_seconds": None, "how": how}, None


class McpEndpoint:
    """The ASGI app of /mcp: POST only, one message in, one JSON answer out."""

    def __init__(self, door: AgentDoor, web: WebSettings, doorkeeper: Doorkeeper) -> None:
        self._server = mcp_server(door)
        self._web = web
        self._doorkeeper = doorkeeper

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            status, answer = await self._answer(scope, receive)
        except RpcFault as fault:
            await send_json(send, fault.status, fault.document)
        except Fault as fault:
            code = PARSE_ERROR if fault.code == "bad_json" else INVALID_REQUEST
            await send_json(send, fault.status, rpc_error(None, code, fault.message, fault.document()), fault.headers)
        else:
            await send_json(send, status, answer, empty=answer is None)

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[int, dict[str, Any] | None]:
        if scope["method"] != "POST":
            fault = Fault(
                405, "method_not_allowed", "MCP is spoken by POST here; there is no stream to open or session to end."
            )
            fault.headers = ((b"allow", b"POST"),)
            raise fault
        self._doorkeeper.principal(scope)
        check_json_type(scope)
        _check_accept(scope)
        body = await read_body(scope, receive, self._web.max_body, self._web.body_seconds)
        # A body may take its time; what was revoked or expired meanwhile no longer counts.
        principal = self._doorkeeper.principal(scope)
        inbound = read_message(parse_json(body, self._web.max_body), scope)
        if inbound.id is None:
            return 202, None
        return await dispatch(self._server, inbound, Caller(principal, len(body)))


def _check_accept(scope: Scope) -> None:
    accept = one_header(scope, b"accept")
    if accept is None:
        return
    kinds = {part.partition(";")[0].strip().lower() for part in accept.split(",")}
    if not kinds & {"application/json", "application/*", "*/*"}:
        raise Fault(406, "not_acceptable", "Answers are application/json; accept that.", field="accept")
