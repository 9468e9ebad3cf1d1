"""The Tasks extension (SEP-2663): an operation as a task of the client that asked for it; it must not keep any state of its own.

A task's id is its operation's: unguessable, durable before it is told, and looked up for its own caller alone. What a task is waiting for is never
answered through the extension: an approval is a person's vote at another door (TRUST §6).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import mcp_types as types
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import Field

from lockgate.gateway.api.exchange import caller_of
from lockgate.gateway.api.offers import Context, missing_capability
from lockgate.gateway.api.results import operation_result
from lockgate.gateway.doors import AgentDoor
from lockgate.gateway.errors import NotFound
from lockgate.gateway.operations.advice import look_after
from lockgate.gateway.operations.model import Operation
from lockgate.gateway.operations.states import State
from lockgate.gateway.operations.views import what_happened

EXTENSION: Final = "io.modelcontextprotocol/tasks"
MAX_TASK_ID: Final = 128


class TaskParams(types.RequestParams):
    """What tasks/get and tasks/cancel take."""

    task_id: str = Field(min_length=1, max_length=MAX_TASK_ID)


class TaskUpdateParams(TaskParams):
    """What tasks/update takes."""

    input_responses: dict[str, Any]


def declared(ctx: Context) -> bool:
    """Whether this very request declared the extension; what an earlier one declared does not count."""
    capabilities = ctx.session.client_capabilities
    return capabilities is not None and capabilities.extensions is not None and EXTENSION in capabilities.extensions


def require(ctx: Context) -> None:
    """Tasks exist in 2026-07-28 for requests that declare them. Raises MCPError -32601 or -32021."""
    if ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS:
        raise MCPError(code=types.METHOD_NOT_FOUND, message="Method not found", data=ctx.method)
    if not declared(ctx):
        raise missing_capability({"extensions": {EXTENSION: {}}})


def task(operation: Operation) -> dict[str, Any]:
    """The operation as a Task. Kept as long as the audit log is, so `ttlMs` is null."""
    return {
        "taskId": operation.id,
        "status": _status(operation),
        "statusMessage": f"{operation.state.value}: {what_happened(operation)}",
        "createdAt": _time(operation.created_at),
        "lastUpdatedAt": _time(operation.updated_at),
        "ttlMs": None,
        "pollIntervalMs": 1000 * look_after(operation),
    }


def created(operation: Operation) -> dict[str, Any]:
    """The flat CreateTaskResult that answers tools/call."""
    return {"resultType": "task", **task(operation)}


def detailed(operation: Operation) -> dict[str, Any]:
    """A DetailedTask: with the tool's result once there is one. A denial, a failure and an expiry are results, with isError and reasons."""
    document = task(operation)
    if document["status"] == "completed":
        document["result"] = operation_result(operation)
    return document


class TaskMethods:
    """tasks/get, tasks/update and tasks/cancel over the agents' door."""

    def __init__(self, door: AgentDoor) -> None:
        self._door = door

    async def get(self, ctx: Context, params: TaskParams) -> dict[str, Any]:
        """The task as it is now; clients poll, so it never waits."""
        require(ctx)
        return {"resultType": "complete", **detailed(await self._own(ctx, params.task_id))}

    async def update(self, ctx: Context, params: TaskUpdateParams) -> dict[str, Any]:
        """Acknowledged without effect: no task asks its client for input, and answers nobody asked for are to be ignored."""
        require(ctx)
        await self._own(ctx, params.task_id)
        return {"resultType": "complete"}

    async def cancel(self, ctx: Context, params: TaskParams) -> dict[str, Any]:
        """Cancel the operation, or note the wish; the acknowledgement says nothing of what became of it."""
        require(ctx)
        await self._own(ctx, params.task_id)
        await self._door.cancel(caller_of(ctx).principal, params.task_id)
        return {"resultType": "complete"}

    async def _own(self, ctx: Context, task_id: str) -> Operation:
        try:
            return await self._door.get(caller_of(ctx).principal, task_id)
        except NotFound:
            raise unknown_task() from None


def unknown_task() -> MCPError:
    """The one answer for a task that does not exist and one that is someone else's."""
    return MCPError(
        code=types.INVALID_PARAMS, message="There is no such task for you.", data={"field": "params.taskId"}
    )


def _status(operation: Operation) -> str:
    if operation.state is State.CANCELLED:
        return "cancelled"
    return "completed" if operation.place.final else "working"


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
