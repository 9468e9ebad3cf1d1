"""subscriptions/listen: one request whose answer is a stream of what changed for its caller; it must tell nothing its caller could not ask for."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import mcp_types as types
from mcp.server.subscriptions import InMemorySubscriptionBus
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import SUBSCRIPTION_ID_META_KEY, ServerEvent, event_matches, event_to_notification

from lockgate.contract.intent import Principal
from lockgate.gateway.api import tasks
from lockgate.gateway.api.exchange import caller_of
from lockgate.gateway.api.offers import Context
from lockgate.gateway.doors import AgentDoor
from lockgate.gateway.errors import NotFound

MAX_STREAMS: Final = 256
MAX_STREAMS_EACH: Final = 8
MAX_TASKS: Final = 32
"""Tasks one stream may follow."""

MAX_SECONDS: Final = 600.0
"""A stream ends well after that, or when its token expires; the client listens again."""

PING_SECONDS: Final = 15.0
MAX_BACKLOG: Final = 256


class Listening:
    """Every open stream of this process. `changes` are told by what the program offers besides tools; `clock` is Unix seconds."""

    def __init__(
        self, door: AgentDoor, changes: InMemorySubscriptionBus | None, clock: Callable[[], float] = time.time
    ) -> None:
        self._door = door
        self._changes = changes
        self._clock = clock
        self._open: Counter[str] = Counter()

    async def __call__(self, ctx: Context, params: types.SubscriptionsListenRequestParams) -> dict[str, Any]:
        """Acknowledge what will be told, tell it as it happens, and end well. Raises MCPError before the acknowledgement only."""
        caller = caller_of(ctx)
        if not caller.line.events:
            raise MCPError(
                code=types.INVALID_REQUEST,
                message="subscriptions/listen needs a client that accepts text/event-stream.",
            )
        with self._slot(caller.principal):
            stream = _Stream(self._door, ctx)
            honoured = await stream.honour(params.notifications, offered=self._changes is not None)
            # Before the acknowledgement, so that nothing that happens while it is sent is missed.
            unsubscribe = self._changes.subscribe(stream.deliver) if self._changes is not None else None
            try:
                await stream.acknowledge(honoured)
                await stream.run(min(MAX_SECONDS, caller.principal.expires_at - self._clock()))
            finally:
                if unsubscribe is not None:
                    unsubscribe()
        return {"resultType": "complete", "_meta": stream.meta}

    @contextmanager
    def _slot(self, principal: Principal) -> Iterator[None]:
        if self._open.total() >= MAX_STREAMS or self._open[principal.id] >= MAX_STREAMS_EACH:
            message = f"Too many streams are open (at most {MAX_STREAMS_EACH} for you); close one, or poll instead."
            raise MCPError(code=types.INTERNAL_ERROR, message=message)
        self._open[principal.id] += 1
        try:
            yield
        finally:
            self._open[principal.id] -= 1
            self._open += Counter()  # forgets who has none left


class _Stream:
    """One open stream: what it honours, and what it told last."""

    def __init__(self, door: AgentDoor, ctx: Context) -> None:
        self._door = door
        self._ctx = ctx
        self._line = caller_of(ctx).line
        self._principal = caller_of(ctx).principal
        self.meta: dict[str, Any] = {SUBSCRIPTION_ID_META_KEY: ctx.request_id}
        self._honoured = types.SubscriptionFilter()
        self._versions: dict[str, int] = {}
        self._tools: tuple[Any, ...] | None = None
        self._backlog: list[ServerEvent] = []
        self._stirred = asyncio.Event()

    async def honour(self, wanted: types.SubscriptionFilter, *, offered: bool) -> dict[str, Any]:
        """The part of what was wanted that will be told from now on."""
        for task_id in self._wanted_tasks(wanted):
            try:
                self._versions[task_id] = (await self._door.get(self._principal, task_id)).version
            except NotFound:
                continue  # left out, as one that never existed
        if wanted.tools_list_changed:
            self._tools = _listed(await self._door.actions(self._principal))
        self._honoured = types.SubscriptionFilter(
            tools_list_changed=True if wanted.tools_list_changed else None,
            prompts_list_changed=True if offered and wanted.prompts_list_changed else None,
            resources_list_changed=True if offered and wanted.resources_list_changed else None,
            resource_subscriptions=wanted.resource_subscriptions if offered else None,
        )
        told = self._honoured.model_dump(by_alias=True, exclude_none=True)
        return {**told, "taskIds": list(self._versions)} if self._versions else told

    async def acknowledge(self, honoured: dict[str, Any]) -> None:
        """The first thing on the stream."""
        await self._send("notifications/subscriptions/acknowledged", {"notifications": honoured})

    def _wanted_tasks(self, wanted: types.SubscriptionFilter) -> list[str]:
        found = (wanted.model_extra or {}).get("taskIds")
        if found is None:
            return []
        tasks.require(self._ctx)
        fits = isinstance(found, list) and all(
            isinstance(item, str) and len(item) <= tasks.MAX_TASK_ID for item in found
        )
        if not fits or len(found) > MAX_TASKS:
            message = f"params.notifications.taskIds must be at most {MAX_TASKS} task ids."
            raise MCPError(code=types.INVALID_PARAMS, message=message)
        return list(dict.fromkeys(found))

    def deliver(self, event: ServerEvent) -> None:
        """Called by the bus: keep the event for the stream, each kind once; they say that something changed, not what."""
        uris = frozenset(self._honoured.resource_subscriptions or ())
        if event_matches(self._honoured, uris, event) and event not in self._backlog:
            if len(self._backlog) < MAX_BACKLOG:
                self._backlog.append(event)
            self._stirred.set()

    async def run(self, seconds: float) -> None:
        """Tell what changes, for so many seconds. Ends with a Refusal when the caller is revoked meanwhile."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while (left := end - loop.time()) > 0:
            self._stirred.clear()
            watch = self._door.watch(self._versions)
            watch.add_done_callback(self._woken)
            try:
                await self._tell()
                async with asyncio.timeout(min(left, PING_SECONDS)):
                    await self._stirred.wait()
            except TimeoutError:
                await self._line.ping()
            finally:
                watch.cancel()

    def _woken(self, watch: asyncio.Future[None]) -> None:
        """Something moved. A watch that `run` ended itself says nothing: stirred by that, a stream would never rest again."""
        if not watch.cancelled():
            self._stirred.set()

    async def _tell(self) -> None:
        actions = _listed(await self._door.actions(self._principal))  # refused here once the caller is revoked
        if self._tools is not None and actions != self._tools:
            self._tools = actions
            await self._send("notifications/tools/list_changed", {})
        for task_id, version in tuple(self._versions.items()):
            operation = await self._door.get(self._principal, task_id)
            if operation.version != version:
                self._versions[task_id] = operation.version
                await self._send("notifications/tasks", tasks.detailed(operation))
        backlog, self._backlog = self._backlog, []
        for event in backlog:
            document = event_to_notification(event, {}).model_dump(by_alias=True, mode="json", exclude_none=True)
            await self._send(document["method"], document.get("params") or {})

    async def _send(self, method: str, params: dict[str, Any]) -> None:
        meta = {**params.get("_meta", {}), **self.meta}
        message = {"jsonrpc": "2.0", "method": method, "params": {**params, "_meta": meta}}
        await self._line.event(message)


def _listed(actions: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple((action.name, action.tool_schema, action.title, action.description) for action in actions)
