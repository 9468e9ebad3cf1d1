"""Tasks end to end: the official Python client with the extension, and real processes, from the call through a person's approval to the change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import mcp_types as types
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from tests.e2e.tasks_extension import Task, TasksExtension, ask, tell

REASON = "the launch is tomorrow"
SECONDS = 480


@asynccontextmanager
async def connected(
    deployment: Any, *extensions: TasksExtension, subject: str = "deploy-bot", **token: Any
) -> AsyncIterator[Client]:
    bearer = deployment.token(subject, "agent", **token)
    async with (
        httpx2.AsyncClient(headers={"authorization": f"Bearer {bearer}"}, timeout=300) as http,
        Client(streamable_http_client(deployment.url + "/mcp", http_client=http), extensions=extensions) as client,
    ):
        yield client


def approve(deployment: Any, operation: str) -> None:
    """bob reads the plan and approves what he was shown."""
    bob = deployment.token("bob", roles=("approver",))
    status, shown = deployment.rest("GET", f"/api/v1/operations/{operation}", bob)
    assert status == 200, shown
    digests = {name: shown["plan"]["digests"][name] for name in ("semantic_sha256", "inputs_sha256")}
    vote = {"verdict": "approve", "digests": digests, "comment": ""}
    status, document = deployment.rest("POST", f"/api/v1/operations/{operation}/votes", bob, vote)
    assert status == 200, document


def change(service: str, target: str = "web-prod", **more: Any) -> dict[str, Any]:
    return {"target": target, "service": service, "replicas": 3, "reason": REASON, **more}


async def test_a_change_is_a_task_that_waits_for_its_approval_and_ends_with_the_tools_result(deployment: Any) -> None:
    seen: list[Task] = []

    async def watcher(task: Task) -> None:
        held = task.status_message.startswith("pending_approval")
        if held and not any(earlier.status_message.startswith("pending_approval") for earlier in seen):
            assert not (deployment.targets["web-prod"] / "tasked.replicas").exists()
            await asyncio.to_thread(approve, deployment, task.task_id)
        seen.append(task)

    extension = TasksExtension(watcher)
    async with asyncio.timeout(SECONDS), connected(deployment, extension) as client:
        assert client.protocol_version == "2026-07-28"
        result = await client.call_tool("set_replicas", change("tasked"))
    assert result.is_error is False and result.structured_content["status"] == "succeeded"
    assert result.structured_content["operation_id"] == seen[0].task_id
    assert [seen[0].result, seen[-1].status] == [None, "completed"]
    (held, *_) = [task for task in seen if task.status_message.startswith("pending_approval")]
    assert held.status == "working" and held.poll_interval_ms > seen[0].poll_interval_ms
    assert (deployment.targets["web-prod"] / "tasked.replicas").read_text().strip() == "3"


async def test_a_task_is_pushed_to_who_listens(deployment: Any) -> None:
    created: asyncio.Queue[Task] = asyncio.Queue()
    extension = TasksExtension(created.put)
    async with asyncio.timeout(SECONDS), connected(deployment, extension) as client:
        call = asyncio.create_task(client.call_tool("set_replicas", change("pushed")))
        task = await created.get()
        wanted = types.SubscriptionFilter.model_validate({"taskIds": [task.task_id]})
        listen = types.SubscriptionsListenRequest(params=types.SubscriptionsListenRequestParams(notifications=wanted))
        listening = asyncio.create_task(client.session.send_request(listen, types.SubscriptionsListenResult))
        while not task.status_message.startswith("pending_approval"):
            task = await created.get()
        await asyncio.to_thread(approve, deployment, task.task_id)
        await extension.noticed.wait()
        assert (await call).structured_content["status"] == "succeeded"
        listening.cancel()
    assert {notice.task_id for notice in extension.notices} == {task.task_id}
    assert extension.notices[-1].status == "completed"


async def test_a_denial_and_a_rejection_are_results_with_reasons_and_no_failed_task(deployment: Any) -> None:
    async def watcher(task: Task) -> None:
        if task.status_message.startswith("pending_approval"):
            await asyncio.to_thread(reject, deployment, task.task_id)

    async with asyncio.timeout(SECONDS):
        async with connected(deployment, TasksExtension(watcher)) as client:
            rejected = await client.call_tool("set_replicas", change("rejected"))
        async with connected(deployment, TasksExtension(watcher), roles=("nobody",)) as client:
            denied = await client.call_tool("set_replicas", change("denied"))
    for result in (rejected, denied):
        assert result.is_error and result.structured_content["status"] == "denied"
    assert denied.structured_content["rules"][0]["rule"]
    assert not (deployment.targets["web-prod"] / "rejected.replicas").exists()


def reject(deployment: Any, operation: str) -> None:
    """bob says no; saying it again once it is denied changes nothing."""
    bob = deployment.token("bob", roles=("approver",))
    _, shown = deployment.rest("GET", f"/api/v1/operations/{operation}", bob)
    digests = {name: shown["plan"]["digests"][name] for name in ("semantic_sha256", "inputs_sha256")}
    vote = {"verdict": "reject", "digests": digests, "comment": "not today"}
    status, document = deployment.rest("POST", f"/api/v1/operations/{operation}/votes", bob, vote)
    assert status == 200, document


async def test_no_input_through_the_extension_approves_and_anothers_task_is_unknown(deployment: Any) -> None:
    async def watcher(task: Task) -> None:
        raise AssertionError("this test finishes its task itself")

    async with asyncio.timeout(SECONDS), connected(deployment, TasksExtension(watcher)) as client:
        created = await client.session.call_tool("set_replicas", change("mine"), allow_claimed=True)
        assert isinstance(created, Task)
        await until_held(client, created.task_id)
        accept = {"approval": {"action": "accept", "content": {"verdict": "approve"}}}
        await tell(client.session, "tasks/update", created.task_id, input_responses=accept)
        assert (await ask(client.session, "tasks/get", created.task_id)).status_message.startswith("pending_approval")
        async with connected(deployment, TasksExtension(watcher), subject="other-bot") as other:
            answers = []
            for task_id in (created.task_id, "op_" + "a" * 26):
                for method in ("tasks/get", "tasks/cancel"):
                    with pytest.raises(MCPError) as caught:
                        await tell(other.session, method, task_id)
                    answers.append((caught.value.error.code, caught.value.error.message, caught.value.error.data))
        assert len({str(answer) for answer in answers}) == 1 and answers[0][0] == -32602
        await tell(client.session, "tasks/cancel", created.task_id)
        assert (await ask(client.session, "tasks/get", created.task_id)).status == "cancelled"


async def until_held(client: Client, task_id: str) -> None:
    """Poll until the task waits for a person."""
    task = await ask(client.session, "tasks/get", task_id)
    while not task.status_message.startswith("pending_approval"):
        assert task.status == "working", task
        await asyncio.sleep(task.poll_interval_ms / 1000)  # the poll interval, as the extension has it
        task = await ask(client.session, "tasks/get", task_id)


async def test_without_the_extension_the_same_change_is_driven_by_the_helper_tools(deployment: Any) -> None:
    async with asyncio.timeout(SECONDS), connected(deployment) as client:
        result = await client.call_tool("set_replicas", change("plain"))
        view: dict[str, Any] = result.structured_content
        approved = False
        while view["status"] != "succeeded":
            if view["status"] == "pending_approval" and not approved:
                await asyncio.to_thread(approve, deployment, view["operation_id"])
                approved = True
            following = view["next"]
            assert following["tool"] == "lockgate_get_operation", view
            view = (await client.call_tool(following["tool"], following["arguments"])).structured_content
    assert (deployment.targets["web-prod"] / "plain.replicas").read_text().strip() == "3"
