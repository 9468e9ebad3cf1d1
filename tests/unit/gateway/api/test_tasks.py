"""The Tasks extension over /mcp: only for requests that declare it, flat, by operation, for its own caller alone."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from tests.unit.gateway.api.memorydoor import DENIAL, HIDDEN
from tests.unit.gateway.api.serving import Served, headers_of, modern

from lockgate.gateway.operations.states import State

TASKS = "io.modelcontextprotocol/tasks"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
CHANGE = {"name": "deploy", "arguments": {"target": "web-1"}}


def declaring(method: str, params: dict[str, Any]) -> dict[str, Any]:
    """A request that declares the extension."""
    body = modern(method, params)
    body["params"]["_meta"][CAPABILITIES] = {"extensions": {TASKS: {}}}
    return body


async def send(served: Served, body: dict[str, Any], token: str = "agent", **headers: str) -> httpx2.Response:
    sent = {**headers_of(body), **{name.replace("_", "-"): value for name, value in headers.items()}}
    async with served.client(token) as client:
        return await client.post("/mcp", json=body, headers=sent)


async def result(served: Served, method: str, params: dict[str, Any]) -> dict[str, Any]:
    response = await send(served, declaring(method, params))
    assert response.status_code == 200 and "result" in response.json(), response.text
    found: dict[str, Any] = response.json()["result"]
    return found


async def get(served: Served, task_id: str) -> dict[str, Any]:
    return await result(served, "tasks/get", {"taskId": task_id})


async def test_a_declaring_call_is_answered_with_a_flat_task_of_its_operation(served: Served) -> None:
    created = await result(served, "tools/call", CHANGE)
    meta = created.pop("_meta")
    assert meta["io.modelcontextprotocol/serverInfo"]["name"] == "lockgate"
    assert created == {
        "resultType": "task",
        "taskId": "op_1",
        "status": "working",
        "statusMessage": "queued: Accepted; waiting for a runner.",
        "createdAt": "1970-01-01T00:00:00.001Z",
        "lastUpdatedAt": "1970-01-01T00:00:00.001Z",
        "ttlMs": None,
        "pollIntervalMs": 1000,
    }


async def test_without_the_declaration_the_answer_is_whole_and_names_the_helper_to_call_next(served: Served) -> None:
    response = await send(served, modern("tools/call", CHANGE))
    found = response.json()["result"]
    assert found["resultType"] == "complete" and "taskId" not in found
    assert found["structuredContent"]["next"]["tool"] == "lockgate_get_operation"


async def test_what_an_earlier_request_declared_does_not_count(served: Served) -> None:
    await result(served, "tools/call", CHANGE)
    assert (await send(served, modern("tools/call", CHANGE))).json()["result"]["resultType"] == "complete"


async def test_the_older_protocol_has_no_tasks(served: Served) -> None:
    call = {"jsonrpc": "2.0", "id": 1, "method": "tasks/get", "params": {"taskId": "op_1"}}
    async with served.client() as client:
        response = await client.post("/mcp", json=call, headers={"mcp-protocol-version": "2025-11-25"})
    assert response.json()["error"]["code"] == -32601


@pytest.mark.parametrize("tool", ["forbidden", "status"])
async def test_a_call_that_ended_at_once_is_no_task(served: Served, tool: str) -> None:
    found = await result(served, "tools/call", {"name": tool, "arguments": {"target": "web-1"}})
    assert found["resultType"] == "complete" and found["isError"] is (tool == "forbidden")


async def test_a_helper_tool_is_no_task(served: Served) -> None:
    created = await result(served, "tools/call", CHANGE)
    look = {"name": "lockgate_get_operation", "arguments": {"operation_id": created["taskId"]}}
    assert (await result(served, "tools/call", look))["resultType"] == "complete"


async def test_applying_a_plan_takes_time_and_is_a_task_of_its_own(served: Served) -> None:
    arguments = {"operation_id": "op_9", "semantic_sha256": "sha256:" + "b" * 64, "reason": "as planned"}
    created = await result(served, "tools/call", {"name": "lockgate_apply_plan", "arguments": arguments})
    assert (created["resultType"], created["status"]) == ("task", "working")


async def test_a_list_says_for_how_long_and_for_whom_it_may_be_kept_and_keeps_its_order(served: Served) -> None:
    first, second = [await result(served, "tools/list", {}) for _ in range(2)]
    assert first == second and first["ttlMs"] == 5000 and first["cacheScope"] == "private"


async def test_a_pending_approval_is_work_with_a_longer_poll_and_no_threshold(served: Served) -> None:
    created = await result(served, "tools/call", {"name": "wipe", "arguments": {"target": "web-1"}})
    assert created["status"] == "working" and created["statusMessage"].startswith("pending_approval: ")
    assert created["pollIntervalMs"] == 15_000
    assert HIDDEN not in (await send(served, declaring("tasks/get", {"taskId": created["taskId"]}))).text


async def test_an_unknown_outcome_is_work_that_is_not_over(served: Served) -> None:
    task_id = (await result(served, "tools/call", CHANGE))["taskId"]
    served.door.move(task_id, State.INDETERMINATE)
    found = await get(served, task_id)
    assert (found["status"], found["pollIntervalMs"]) == ("working", 30_000) and "result" not in found
    assert found["statusMessage"].startswith("indeterminate: ")


@pytest.mark.parametrize(
    ("state", "error"),
    [
        (State.SUCCEEDED, False),
        (State.PLANNED, False),
        (State.DENIED, True),
        (State.FAILED, True),
        (State.EXPIRED, True),
    ],
)
async def test_an_end_is_completed_with_the_tools_own_result(served: Served, state: State, error: bool) -> None:
    task_id = (await result(served, "tools/call", CHANGE))["taskId"]
    served.door.move(task_id, state, reasons=(DENIAL,) if state is State.DENIED else ())
    found = await get(served, task_id)
    assert (found["resultType"], found["status"]) == ("complete", "completed")
    assert found["result"]["isError"] is error and found["result"]["structuredContent"]["status"] == state.value
    if state is State.DENIED:
        assert found["result"]["structuredContent"]["rules"][0]["rule"] == "lockgate.rbac"


async def test_cancelling_is_acknowledged_without_saying_what_became_of_it(served: Served) -> None:
    task_id = (await result(served, "tools/call", CHANGE))["taskId"]
    for _ in range(2):
        acknowledged = await result(served, "tasks/cancel", {"taskId": task_id})
        assert set(acknowledged) == {"resultType", "_meta"} and acknowledged["resultType"] == "complete"
    found = await get(served, task_id)
    assert found["status"] == "cancelled" and "result" not in found


async def test_no_answer_through_tasks_update_moves_an_approval(served: Served) -> None:
    task_id = (await result(served, "tools/call", {"name": "wipe", "arguments": {"target": "web-1"}}))["taskId"]
    vote = {"approval": {"action": "accept", "content": {"verdict": "approve"}}}
    acknowledged = await result(served, "tasks/update", {"taskId": task_id, "inputResponses": vote})
    assert acknowledged["resultType"] == "complete"
    assert (await get(served, task_id))["statusMessage"].startswith("pending_approval: ")
    assert served.door.operations[task_id].version == 1


@pytest.mark.parametrize("method", ["tasks/get", "tasks/update", "tasks/cancel"])
async def test_an_unknown_task_and_anothers_are_answered_with_the_same_bytes(served: Served, method: str) -> None:
    mine = (await result(served, "tools/call", CHANGE))["taskId"]
    more: dict[str, Any] = {"inputResponses": {}} if method == "tasks/update" else {}
    answers = []
    for token, task_id in (("other", mine), ("agent", "op_" + "a" * 26), ("other", "op_" + "a" * 26)):
        response = await send(served, declaring(method, {"taskId": task_id, **more}), token)
        answers.append((response.status_code, response.content))
    assert len(set(answers)) == 1 and answers[0][0] == 400 and b"-32602" in answers[0][1]
    assert served.door.operations[mine].state is State.QUEUED


@pytest.mark.parametrize("method", ["tasks/get", "tasks/update", "tasks/cancel"])
async def test_a_request_that_does_not_declare_tasks_is_told_what_it_lacks(served: Served, method: str) -> None:
    more: dict[str, Any] = {"inputResponses": {}} if method == "tasks/update" else {}
    response = await send(served, modern(method, {"taskId": "op_1", **more}))
    assert response.status_code == 400 and response.json()["error"]["code"] == -32021
    assert response.json()["error"]["data"]["requiredCapabilities"] == {"extensions": {TASKS: {}}}


@pytest.mark.parametrize("params", [{}, {"taskId": 5}, {"taskId": ""}, {"taskId": "x" * 129}])
async def test_a_task_id_of_another_shape_is_refused(served: Served, params: dict[str, Any]) -> None:
    response = await send(served, declaring("tasks/get", params))
    assert response.status_code == 400 and response.json()["error"]["code"] == -32602


async def test_mcp_name_may_be_absent_on_tasks_but_not_name_another(served: Served) -> None:
    task_id = (await result(served, "tools/call", CHANGE))["taskId"]
    body = declaring("tasks/get", {"taskId": task_id})
    assert (await send(served, body)).status_code == 200
    assert (await send(served, body, mcp_name=task_id)).status_code == 200
    for other in ("op_9", "", "=?base64?!!!?="):
        response = await send(served, body, mcp_name=other)
        assert response.status_code == 400 and response.json()["error"]["code"] == -32020


async def test_there_is_no_list_and_no_separate_result(served: Served) -> None:
    for method in ("tasks/list", "tasks/result"):
        response = await send(served, declaring(method, {"taskId": "op_1"}))
        assert response.status_code == 404 and response.json()["error"]["code"] == -32601


async def test_a_revoked_caller_is_refused_with_the_reason(served: Served) -> None:
    task_id = (await result(served, "tools/call", CHANGE))["taskId"]
    served.door.revoked.add("agent-1")
    response = await send(served, declaring("tasks/get", {"taskId": task_id}))
    assert response.json()["error"]["data"]["code"] == "forbidden"


async def test_the_extension_is_announced_where_its_protocol_is_spoken(served: Served) -> None:
    found = await result(served, "server/discover", {})
    assert found["capabilities"]["extensions"] == {TASKS: {}} and "tasks" not in found["capabilities"]
    assert isinstance(found["ttlMs"], int) and found["cacheScope"] in ("public", "private")
