"""The agents' MCP server: which methods exist, and which question to the core each one is. It translates calls and answers; it decides nothing."""

from __future__ import annotations

import time
from typing import Any, Final

import mcp_types as types
from mcp.server._otel import OpenTelemetryMiddleware
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError

from lockgate import __version__
from lockgate.gateway.api import tasks
from lockgate.gateway.api.exchange import Caller, caller_of
from lockgate.gateway.api.listen import Listening
from lockgate.gateway.api.offers import FEATURES, NOTHING, Context, Offers
from lockgate.gateway.api.requeststate import request_state
from lockgate.gateway.api.results import explanation_result, operation_result, refused_result
from lockgate.gateway.api.tools import HELPERS, check_helper_arguments, tool_list
from lockgate.gateway.doors import AgentDoor, Call
from lockgate.gateway.errors import Refusal, UnknownAction
from lockgate.gateway.operations.advice import CANCEL_OPERATION, EXPLAIN, GET_OPERATION
from lockgate.gateway.operations.model import Operation
from lockgate.gateway.operations.views import is_error

INSTRUCTIONS: Final = (
    "Each tool asks Lockgate for one infrastructure action. Answers carry operation_id, status and `next`: the call to make next. "
    "A call may be denied (isError with rules and fix) or wait for a person's approval (status pending_approval); "
    "do not repeat a call that waits, look at it with lockgate_get_operation. `retry` says whether the same call may end otherwise; "
    "lockgate_explain tells what happened to an operation and why."
)

LOOKS: Final = frozenset({GET_OPERATION, CANCEL_OPERATION})
"""Tools about an operation that is there already: what they answer is never a task."""


def mcp_server(door: AgentDoor, offers: Offers = NOTHING) -> Server[Any]:
    """The SDK's low-level server with our handlers; `ctx.request` is the Caller."""

    async def list_tools(ctx: Context, _: types.PaginatedRequestParams | None) -> dict[str, Any]:
        return tool_list(await door.actions(caller_of(ctx).principal))

    async def call_tool(ctx: Context, params: types.CallToolRequestParams) -> dict[str, Any]:
        body = offers.bodies.get(params.name)
        if body is not None:
            body.check(ctx)
        arguments = params.arguments or {}
        try:
            if params.name == EXPLAIN:
                return await _explain(door, caller_of(ctx), arguments)
            operation = await _call(door, caller_of(ctx), params.name, arguments)
        except UnknownAction as refusal:
            # A protocol error, so that a client can tell "no such tool" from a denial, which is a result.
            raise MCPError(
                code=types.INVALID_PARAMS, message=f"Unknown tool: {params.name[:64]}", data=refusal.document()
            ) from None
        except Refusal as refusal:
            return refused_result(refusal, params.name, arguments)
        if body is not None and not is_error(operation):
            return await body.words(ctx, params, operation)
        if not operation.place.final and params.name not in LOOKS and tasks.declared(ctx):
            return tasks.created(operation)
        return operation_result(operation)

    server: Server[Any] = Server("lockgate", version=__version__, title="Lockgate", instructions=INSTRUCTIONS)
    # The SDK's own spans would hold errors' texts and begin where a caller says (ADR 24): the observer's are all there are.
    server.middleware[:] = [item for item in server.middleware if not isinstance(item, OpenTelemetryMiddleware)]
    server.add_request_handler("tools/list", types.PaginatedRequestParams, list_tools)
    server.add_request_handler("tools/call", types.CallToolRequestParams, call_tool)
    _add_tasks(server, door, offers)
    for method, handler in offers.features.items():
        server.add_request_handler(method, FEATURES[method], handler)
    if offers.features or offers.bodies:
        server.middleware.append(request_state(time.time))
    return server


def _add_tasks(server: Server[Any], door: AgentDoor, offers: Offers) -> None:
    methods = tasks.TaskMethods(door)
    server.add_request_handler("tasks/get", tasks.TaskParams, methods.get)
    server.add_request_handler("tasks/update", tasks.TaskUpdateParams, methods.update)
    server.add_request_handler("tasks/cancel", tasks.TaskParams, methods.cancel)
    server.add_request_handler(
        "subscriptions/listen", types.SubscriptionsListenRequestParams, Listening(door, offers.changes)
    )
    server.extensions[tasks.EXTENSION] = {}


async def _call(door: AgentDoor, caller: Caller, tool: str, arguments: dict[str, Any]) -> Operation:
    gone = caller.line.gone
    if tool not in HELPERS:
        return await door.call(caller.principal, Call(tool, arguments, caller.size, gone))
    check_helper_arguments(tool, arguments)
    if tool == GET_OPERATION:
        seconds = float(arguments.get("wait_seconds", 0))
        return await door.get(caller.principal, arguments["operation_id"], seconds, gone)
    if tool == CANCEL_OPERATION:
        return await door.cancel(caller.principal, arguments["operation_id"])
    return await door.apply_plan(caller.principal, arguments, gone)


async def _explain(door: AgentDoor, caller: Caller, arguments: dict[str, Any]) -> dict[str, Any]:
    check_helper_arguments(EXPLAIN, arguments)
    return explanation_result(await door.explain(caller.principal, arguments["operation_id"]))
