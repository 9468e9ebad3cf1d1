"""subscriptions/listen: acknowledged first, stamped, filtered, for the caller's own alone, ended for who may no longer look."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest
from tests.unit.gateway.api.serving import Served, headers_of, modern
from tests.unit.gateway.api.streams import SECONDS, Events, posted
from tests.unit.gateway.api.test_tasks import CHANGE, declaring, result

from lockgate.gateway.api import listen
from lockgate.gateway.operations.states import State

ID = "io.modelcontextprotocol/subscriptionId"


def listening(request_id: Any = 7, **notifications: Any) -> dict[str, Any]:
    return {**declaring("subscriptions/listen", {"notifications": notifications}), "id": request_id}


async def acknowledged(events: Events) -> dict[str, Any]:
    first = await events.next()
    assert first["method"] == "notifications/subscriptions/acknowledged", first
    honoured: dict[str, Any] = first["params"]["notifications"]
    return honoured


async def refused(served: Served, body: dict[str, Any], **headers: str) -> dict[str, Any]:
    sent = {**headers_of(body), "accept": "application/json, text/event-stream", **headers}
    async with asyncio.timeout(SECONDS), served.client() as client:
        response: httpx2.Response = await client.post("/mcp", json=body, headers=sent)
    error: dict[str, Any] = response.json()["error"]
    return error


async def test_a_task_is_told_each_time_it_moves_with_its_result_at_the_end(served: Served) -> None:
    task_id = (await result(served, "tools/call", CHANGE))["taskId"]
    async with posted(served, listening("mine", taskIds=[task_id])) as events:
        assert "content-type: text/event-stream" in events.head and "cache-control: no-store" in events.head
        assert await acknowledged(events) == {"taskIds": [task_id]}
        served.door.move(task_id, State.PENDING_APPROVAL)
        held = await events.next()
        served.door.move(task_id, State.SUCCEEDED)
        ended = await events.next()
    assert held["method"] == ended["method"] == "notifications/tasks"
    assert held["params"]["statusMessage"].startswith("pending_approval: ") and "result" not in held["params"]
    assert ended["params"]["status"] == "completed" and ended["params"]["result"]["isError"] is False
    assert held["params"]["_meta"] == ended["params"]["_meta"] == {ID: "mine"}
    assert "resultType" not in ended["params"] and "id" not in ended


async def test_tasks_that_are_unknown_or_anothers_are_left_out_alike(served: Served) -> None:
    mine = (await result(served, "tools/call", CHANGE))["taskId"]
    for token, expected in (("other", {}), ("agent", {"taskIds": [mine]})):
        async with posted(served, listening(taskIds=[mine, "op_unknown", mine]), token) as events:
            assert await acknowledged(events) == expected


async def test_a_list_of_tools_that_changed_is_told_to_who_asked_for_it(served: Served) -> None:
    async with posted(served, listening(toolsListChanged=True)) as events:
        assert await acknowledged(events) == {"toolsListChanged": True}
        served.door.stir()  # something moved, but not this caller's list: nothing is told of it
        served.door.hidden.add("wipe")
        served.door.stir()
        told = await events.next()
    assert told["method"] == "notifications/tools/list_changed" and told["params"]["_meta"] == {ID: 7}


async def test_what_is_not_there_to_be_told_is_not_acknowledged(served: Served) -> None:
    wanted = {"promptsListChanged": True, "resourcesListChanged": True, "resourceSubscriptions": ["x://y"]}
    async with posted(served, listening(**wanted)) as events:
        assert await acknowledged(events) == {}


async def test_a_caller_revoked_meanwhile_is_told_so_and_the_stream_ends(served: Served) -> None:
    task_id = (await result(served, "tools/call", CHANGE))["taskId"]
    async with posted(served, listening(taskIds=[task_id])) as events:
        await acknowledged(events)
        served.door.revoked.add("agent-1")
        served.door.move(task_id, State.SUCCEEDED)
        last = await events.next()
        assert last["id"] == 7 and last["error"]["data"]["code"] == "forbidden"
        with pytest.raises(asyncio.IncompleteReadError):
            await events.next()


async def test_a_stream_ends_well_when_its_token_expires(served: Served) -> None:
    async with posted(served, listening(), "expiring") as events:
        assert await acknowledged(events) == {}
        last = await events.next()
    assert last["id"] == 7 and last["result"]["resultType"] == "complete" and last["result"]["_meta"][ID] == 7


async def test_a_client_that_reads_no_event_stream_is_refused(served: Served) -> None:
    error = await refused(served, listening(), accept="application/json")
    assert error["code"] == -32600 and "text/event-stream" in error["message"]


async def test_tasks_are_followed_by_who_declares_them_alone(served: Served) -> None:
    body = modern("subscriptions/listen", {"notifications": {"taskIds": ["op_1"]}})
    assert (await refused(served, body))["code"] == -32021


@pytest.mark.parametrize("tasks", ["op_1", [5], ["x" * 200], [f"op_{n}" for n in range(33)]])
async def test_the_tasks_to_follow_are_bounded_and_checked(served: Served, tasks: Any) -> None:
    error = await refused(served, listening(taskIds=tasks))
    assert error["code"] == -32602 and "taskIds" in error["message"]


async def test_streams_are_bounded_for_each_caller_and_a_closed_one_makes_room(served: Served) -> None:
    async with posted(served, listening()) as first:
        await acknowledged(first)
        others = [posted(served, listening()) for _ in range(listen.MAX_STREAMS_EACH - 1)]
        opened = [await other.__aenter__() for other in others]
        for events in opened:
            await acknowledged(events)
        assert "Too many streams" in (await refused(served, listening()))["message"]
        first.leave()
        async with asyncio.timeout(30):
            while True:  # the gateway sees a client leave when its loop next looks
                async with posted(served, listening()) as again:
                    if "content-type: text/event-stream" in again.head:
                        break
        for other in others:
            await other.__aexit__(None, None, None)


async def test_a_silent_stream_rests_between_its_pings(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen, "PING_SECONDS", 0.01)
    async with posted(served, listening(toolsListChanged=True)) as events:
        await acknowledged(events)
        for _ in range(3):
            await events.ping()
            assert len(served.door.watches) < 1000, "it looks again all the time"
