"""What the reaper asks of a cluster: all pages of its namespaces with the API server's own time, and deletes that name a UID; and what it says of what it found."""

from __future__ import annotations

import asyncio
import datetime
from typing import Any

import pytest
import structlog
from tests.unit.runner.sandbox.kubernetes.conftest import Answer, ScriptedServer, status_of

from lockgate.runner.sandbox.kubernetes import orphans
from lockgate.runner.sandbox.kubernetes.api import Api, ApiRefused, ApiUnavailable
from lockgate.runner.sandbox.kubernetes.marks import MarkKey, RegionMarks
from lockgate.runner.sandbox.kubernetes.orphans import ApiNamespaces, Told
from lockgate.runner.sandbox.kubernetes.reaper import Found, Reaper, Verdict

LIST = "/api/v1/namespaces"
DATE = {"date": "Fri, 27 Nov 2026 12:00:00 GMT"}
LATER = {"date": "Fri, 27 Nov 2026 13:00:00 GMT"}


async def test_every_page_is_read_and_the_time_is_the_servers_when_it_told_the_first(
    server: ScriptedServer, api: Api
) -> None:
    server.answers(
        "GET",
        LIST,
        Answer(document={"items": [{"n": 1}], "metadata": {"continue": "x"}}, headers=DATE),
        Answer(document={"items": [{"n": 2}]}, headers=LATER),
    )
    found, now = await ApiNamespaces(api).run_namespaces()
    assert [item["n"] for item in found] == [1, 2]
    assert now == datetime.datetime(2026, 11, 27, 12, tzinfo=datetime.UTC)
    assert ["continue=x" in one.path for one in server.asked] == [False, True]
    assert all("labelSelector=lockgate.dev%2Frun%3Dtrue" in one.path for one in server.asked)


async def test_without_the_servers_time_nothing_is_judged(server: ScriptedServer, api: Api) -> None:
    server.answers("GET", LIST, Answer(document={"items": []}, headers={"date": "now"}))
    with pytest.raises(ApiUnavailable, match="what time it is"):
        await ApiNamespaces(api).run_namespaces()


async def test_a_delete_names_the_uid_that_was_judged(server: ScriptedServer, api: Api) -> None:
    server.answers("DELETE", f"{LIST}/a", Answer(document={"kind": "Namespace"}))
    assert await ApiNamespaces(api).delete_namespace("a", "uid-a")
    assert server.asked[0].body["preconditions"] == {"uid": "uid-a"}


async def test_what_is_gone_or_is_another_one_by_now_is_not_ours_to_delete(server: ScriptedServer, api: Api) -> None:
    server.answers("DELETE", f"{LIST}/a", Answer(409, status_of("Conflict", "the UID in the precondition")))
    assert not await ApiNamespaces(api).delete_namespace("a", "uid-a")
    assert not await ApiNamespaces(api).delete_namespace("a", "uid-a"), "404"


async def test_any_other_refusal_is_no_deletion(server: ScriptedServer, api: Api) -> None:
    server.answers("DELETE", f"{LIST}/a", Answer(403, status_of("Forbidden", "policy")))
    with pytest.raises(ApiRefused):
        await ApiNamespaces(api).delete_namespace("a", "uid-a")


def test_what_people_must_look_at_is_said_once_and_what_is_in_order_never() -> None:
    told: dict[str, Any] = {}
    with structlog.testing.capture_logs() as said:
        hear = Told()
        for _ in range(3):
            for verdict in Verdict:
                hear(Found(f"lockgate-run-{verdict}", verdict.value, verdict, "runner-2", "why"))
    told = {line["verdict"]: line["log_level"] for line in said}
    assert told == {"foreign": "error", "elsewhere": "info", "orphan": "info", "stuck": "error"}
    assert len(said) == 4


async def test_rounds_go_on_after_one_that_failed_and_leave_what_lives(
    server: ScriptedServer, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orphans, "ROUND_SECONDS", 0.01)
    marks = RegionMarks(MarkKey(b"r" * 32), "cluster", "eu", "runner-1", "i-1", 60)
    names = [f"lockgate-run-{letter * 32}" for letter in "ab"]
    items = [
        {
            "metadata": {
                "name": name,
                "uid": name,
                "creationTimestamp": "2026-11-27T12:00:00Z",
                "annotations": marks.annotations(name),
            }
        }
        for name in names
    ]
    server.answers("GET", LIST, Answer(403, status_of("Forbidden", "not yet")))
    server.answers("GET", LIST, *(Answer(document={"items": items}, headers=DATE) for _ in range(9)))
    server.answers("DELETE", f"{LIST}/{names[0]}", Answer(document={"kind": "Namespace"}))

    async def reaper() -> Reaper:
        return Reaper(marks)

    patrolling = asyncio.create_task(orphans.patrol(reaper, api, lambda: {names[1]}))
    async with asyncio.timeout(30):
        while sum(one.method == "DELETE" for one in server.asked) < 2:  # noqa: ASYNC110  (a server has no event to wait for)
            await asyncio.sleep(0.01)
    patrolling.cancel()
    assert {one.path for one in server.asked if one.method == "DELETE"} == {f"{LIST}/{names[0]}"}
