"""Lists in pages: all of them, no more than were asked for, and begun again when the server forgot where they were."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.runner.sandbox.kubernetes.conftest import Answer, ScriptedServer, status_of

from lockgate.runner.sandbox.kubernetes import paging
from lockgate.runner.sandbox.kubernetes.api import Api, ApiRefused, ApiUnavailable
from lockgate.runner.sandbox.kubernetes.paging import listed, whole

PODS = "/api/v1/namespaces/x/pods"
TOO_OLD = Answer(410, status_of("Expired", "the provided continue parameter is too old"))


def page(*names: str, onward: str = "", version: str = "7") -> Answer:
    items = [{"metadata": {"name": name, "managedFields": [{"manager": "x" * 1000}]}} for name in names]
    return Answer(document={"items": items, "metadata": {"continue": onward, "resourceVersion": version}})


def names(found: Any) -> list[str]:
    return [item["metadata"]["name"] for item in found.items]


async def test_every_page_is_asked_for_and_each_is_bounded(server: ScriptedServer, api: Api) -> None:
    server.answers("GET", PODS, page("a", "b", onward="t1"), page("c", onward="t2"), page("d"))
    found = await listed(api, PODS, {"labelSelector": "a=b"})
    assert (names(found), found.version, found.whole) == (["a", "b", "c", "d"], "7", True)
    assert all(f"limit={paging.PAGE}" in one.path and "labelSelector=a%3Db" in one.path for one in server.asked)
    assert ["continue=" in one.path for one in server.asked] == [False, True, True]
    assert all(set(item["metadata"]) == {"name"} for item in found.items), "notes of managers are not kept"


async def test_a_list_that_the_server_forgot_is_begun_again_once(server: ScriptedServer, api: Api) -> None:
    server.answers("GET", PODS, page("a", onward="t1"), TOO_OLD, page("a", onward="t2"), page("b"))
    assert names(await listed(api, PODS)) == ["a", "b"]
    server.answers("GET", PODS, page("a", onward="t1"), TOO_OLD, page("a", onward="t2"), TOO_OLD)
    with pytest.raises(ApiRefused):
        await listed(api, PODS)


async def test_more_than_is_wanted_is_not_listed_and_not_called_whole(server: ScriptedServer, api: Api) -> None:
    server.answers("GET", PODS, page("a", "b", onward="t1"), page("c", "d"))
    found = await listed(api, PODS, most=1)
    assert (names(found), found.whole, len(server.asked)) == (["a"], False, 1)
    with pytest.raises(ApiUnavailable, match="more than 1"):
        await whole(api, PODS, 1)


async def test_a_server_that_never_comes_to_an_end_is_left(server: ScriptedServer, api: Api) -> None:
    """Empty pages that each promise another."""
    server.answers("GET", PODS, *(page(onward=f"t{number}") for number in range(50)))
    found = await listed(api, PODS, most=10 * paging.PAGE)
    assert (found.items, found.whole, len(server.asked)) == ((), False, 11)
