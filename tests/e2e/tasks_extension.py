"""The Tasks extension as a client's author would write it on the official Python client: a claim on `task` results, polled to their end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar, Literal

import mcp_types as types
from mcp.client.extension import ClaimContext, ClientExtension, NotificationBinding, ResultClaim
from mcp.client.session import ClientSession
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

TASKS = "io.modelcontextprotocol/tasks"


class Task(types.Result):
    """A task as CreateTaskResult (`task`), and as tasks/get and notifications/tasks tell it."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)
    task_id: str
    status: str
    status_message: str = ""
    ttl_ms: int | None = None
    poll_interval_ms: int = 1000
    result: types.CallToolResult | None = None


class CreatedTask(Task):
    """What tools/call answers."""

    result_type: Literal["task"]


class TaskParams(types.RequestParams):
    """Names a task."""

    task_id: str
    input_responses: dict[str, Any] | None = None


class TaskRequest(types.Request[TaskParams, str]):
    """tasks/get, tasks/update or tasks/cancel."""

    name_param: ClassVar[str | None] = "taskId"


class TaskNotice(BaseModel):
    """The params of notifications/tasks."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)
    task_id: str
    status: str
    status_message: str = ""


Watcher = Callable[[Task], Awaitable[None]]


class TasksExtension(ClientExtension):
    """Finishes tasks by polling; `watcher` sees each answer, `notices` keeps what the server pushed."""

    identifier = TASKS

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self.notices: list[TaskNotice] = []
        self.noticed = asyncio.Event()

    def claims(self) -> Sequence[ResultClaim[Any]]:
        return (ResultClaim(result_type="task", model=CreatedTask, resolve=self._finish),)

    def notifications(self) -> Sequence[NotificationBinding[Any]]:
        return (NotificationBinding(method="notifications/tasks", params_type=TaskNotice, handler=self._notice),)

    async def _notice(self, notice: TaskNotice) -> None:
        self.notices.append(notice)
        if notice.status == "completed":
            self.noticed.set()

    async def _finish(self, created: CreatedTask, ctx: ClaimContext) -> types.CallToolResult:
        task: Task = created
        await self._watcher(task)
        while task.status == "working":
            await asyncio.sleep(min(task.poll_interval_ms, 1000) / 1000)  # the poll interval, as the extension has it
            task = await ask(ctx.session, "tasks/get", created.task_id)
            await self._watcher(task)
        assert task.status == "completed" and task.result is not None, task
        return task.result


async def ask(session: ClientSession, method: str, task_id: str, **more: Any) -> Task:
    """tasks/get. Raises MCPError."""
    request = TaskRequest(method=method, params=TaskParams(task_id=task_id, **more))
    return await session.send_request(request, Task)


async def tell(session: ClientSession, method: str, task_id: str, **more: Any) -> types.Result:
    """tasks/cancel and tasks/update, which are only acknowledged. Raises MCPError."""
    request = TaskRequest(method=method, params=TaskParams(task_id=task_id, **more))
    return await session.send_request(request, types.EmptyResult)
