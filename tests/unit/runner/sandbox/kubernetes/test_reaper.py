"""What a reaper deletes: namespaces that outlived their attempt by their own valid mark, each once, by its UID; and nothing else, ever."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Mapping
from typing import Any

import pytest

from lockgate.runner.sandbox.kubernetes.marks import MarkKey, RegionMarks
from lockgate.runner.sandbox.kubernetes.objects import PREFIX
from lockgate.runner.sandbox.kubernetes.reaper import STUCK_AFTER, Found, Reaper, Verdict, stuck_because

KEY, CLUSTER = MarkKey(b"r" * 32), "cluster-uid"
T0 = datetime.datetime(2026, 11, 27, 12, tzinfo=datetime.UTC)
SECOND = datetime.timedelta(seconds=1)


def name(letter: str) -> str:
    return PREFIX + letter * 32


def namespace(letter: str, runner: str = "runner-2", instance: str = "i-1", **metadata: Any) -> dict[str, Any]:
    marks = RegionMarks(KEY, CLUSTER, "eu-west", runner, instance, 3600)
    said = {
        "name": name(letter),
        "uid": f"uid-{letter}",
        "creationTimestamp": "2026-11-27T12:00:00Z",
        "annotations": marks.annotations(name(letter)),
    }
    return {"metadata": {**said, **metadata}}


class Apiserver:
    """A cluster's namespaces, with the one rule that matters: a delete names a UID."""

    def __init__(self, *namespaces: Mapping[str, Any]) -> None:
        self.there = {str(item["metadata"]["name"]): item for item in namespaces}
        self.deleted: list[str] = []
        self.now = T0

    async def run_namespaces(self) -> tuple[list[Mapping[str, Any]], datetime.datetime]:
        listed = list(self.there.values())
        await asyncio.sleep(0)
        return listed, self.now

    async def delete_namespace(self, name: str, uid: str) -> bool:
        await asyncio.sleep(0)
        found = self.there.get(name)
        if found is None or found["metadata"]["uid"] != uid:
            return False
        del self.there[name]
        self.deleted.append(uid)
        return True


def reaper(runner: str, instance: str = "i-1") -> Reaper:
    return Reaper(RegionMarks(KEY, CLUSTER, "eu-west", runner, instance, 3600))


REAPER = reaper("runner-1")


def verdict(item: Mapping[str, Any], now: datetime.datetime = T0, live: tuple[str, ...] = ()) -> Verdict:
    return REAPER.judge(item, live, now).verdict


def test_another_runners_namespace_is_an_orphan_once_its_time_by_the_api_servers_clock_is_over() -> None:
    assert verdict(namespace("a"), T0 + 3599 * SECOND) is Verdict.KEPT
    assert verdict(namespace("a"), T0 + 3600 * SECOND) is Verdict.ORPHAN


def test_ones_own_is_an_orphan_at_once_unless_an_attempt_of_ours_lives_in_it() -> None:
    mine = namespace("a", "runner-1")
    assert verdict(mine) is Verdict.ORPHAN
    assert verdict(mine, live=(name("a"),)) is Verdict.KEPT
    assert verdict(mine, T0 + 9999 * SECOND, live=(name("a"),)) is Verdict.KEPT, "however long it takes"


def test_what_another_process_of_ones_own_name_uses_is_kept_until_its_time_is_over() -> None:
    """Two that were given one name by mistake know nothing of each other's attempts: neither may take the other's for what it left itself."""
    theirs = namespace("a", "runner-1", "i-2")
    assert verdict(theirs) is Verdict.KEPT
    assert verdict(theirs, T0 + 3600 * SECOND) is Verdict.ORPHAN


OTHERS = {
    "no mark": namespace("a", annotations={}),
    "no annotations": namespace("a", annotations=None),
    "annotations that are none": namespace("a", annotations=["lockgate.dev/mark"]),
    "a forged mark": namespace(
        "a", annotations=RegionMarks(MarkKey(b"x" * 32), CLUSTER, "eu-west", "r", "i", 1).annotations(name("a"))
    ),
    "a mark of another name": namespace("a", annotations=namespace("b")["metadata"]["annotations"]),
    "a mark of another cluster": namespace(
        "a", annotations=RegionMarks(KEY, "other", "r", "r", "i", 1).annotations(name("a"))
    ),
    "a copied mark on someone else's namespace": namespace("a", name="shop"),
    "a name of someone else's with a valid mark for it": namespace(
        "a", name="kube-system", annotations=RegionMarks(KEY, CLUSTER, "r", "r", "i", 1).annotations("kube-system")
    ),
    "no uid": namespace("a", uid=""),
    "no time of creation": namespace("a", creationTimestamp=None),
    "a time without its zone": namespace("a", creationTimestamp="2026-11-27T12:00:00"),
    "no metadata": {},
}


@pytest.mark.parametrize("what", OTHERS)
async def test_what_carries_no_mark_for_its_very_name_and_cluster_is_left_alone_for_ever(what: str) -> None:
    server = Apiserver()
    server.there = {"it": OTHERS[what]}
    server.now = T0 + datetime.timedelta(days=365)
    (found,) = await REAPER.round(server, tuple)
    assert (found.verdict, bool(found.why)) == (Verdict.FOREIGN, True)
    assert server.deleted == []


async def test_what_says_that_it_is_another_regions_is_left_alone_too_and_known_as_that() -> None:
    """A word that nobody has verified: it makes nothing of it ours, however old it is."""
    theirs = RegionMarks(MarkKey(b"x" * 32), CLUSTER, "us-east", "runner-2", "i-1", 1)
    server = Apiserver(namespace("a", annotations=theirs.annotations(name("a"))))
    server.now = T0 + datetime.timedelta(days=365)
    (found,) = await REAPER.round(server, tuple)
    assert (found.verdict, found.why, server.deleted) == (
        Verdict.ELSEWHERE,
        "it says that it is of the region us-east",
        [],
    )


@pytest.mark.parametrize("region", ["eu-west", ""])
async def test_a_mark_that_claims_our_own_region_and_does_not_verify_is_suspicious(region: str) -> None:
    forged = RegionMarks(MarkKey(b"x" * 32), CLUSTER, region, "runner-2", "i-1", 1).annotations(name("a"))
    (found,) = await REAPER.round(Apiserver(namespace("a", annotations=forged)), tuple)
    assert found.verdict is Verdict.FOREIGN


async def test_any_number_of_reapers_delete_each_orphan_once_and_again_changes_nothing() -> None:
    server = Apiserver(*(namespace(letter) for letter in "abcdef"), namespace("9", annotations={}))
    server.now = T0 + 4000 * SECOND
    reapers = [reaper(f"runner-{number}") for number in range(8)]
    await asyncio.gather(*(one.round(server, tuple) for one in reapers))
    assert sorted(server.deleted) == [f"uid-{letter}" for letter in "abcdef"]
    await asyncio.gather(*(one.round(server, tuple) for one in reapers))
    assert len(server.deleted) == 6
    assert list(server.there) == [name("9")]


async def test_a_namespace_that_was_made_anew_under_the_same_name_meanwhile_is_not_deleted() -> None:
    server = Apiserver(namespace("a"))
    server.now = T0 + 4000 * SECOND
    listed = server.run_namespaces

    async def replaced_after_the_look() -> tuple[list[Mapping[str, Any]], datetime.datetime]:
        said = await listed()
        server.there[name("a")] = namespace("a", uid="another")
        return said

    server.run_namespaces = replaced_after_the_look  # type: ignore[method-assign]
    await REAPER.round(server, tuple)
    assert server.deleted == []


async def test_one_that_is_being_deleted_is_not_deleted_again_and_told_of_when_it_stays() -> None:
    gone = namespace("a", deletionTimestamp="2026-11-27T14:00:00Z")
    gone["status"] = {
        "conditions": [
            {"type": "NamespaceFinalizersRemaining", "status": "True", "message": "example.com/hold in 1 resource"},
            {"type": "NamespaceDeletionDiscoveryFailure", "status": "False", "message": "all found"},
        ]
    }
    at = datetime.datetime(2026, 11, 27, 14, tzinfo=datetime.UTC)
    assert verdict(gone, at + STUCK_AFTER - SECOND) is Verdict.GOING
    server = Apiserver(gone)
    server.now = at + STUCK_AFTER
    assert await REAPER.round(server, tuple) == [
        Found(name("a"), "uid-a", Verdict.STUCK, "runner-2", "example.com/hold in 1 resource")
    ]
    assert server.deleted == []


def test_what_the_cluster_says_of_a_stuck_namespace_is_bounded() -> None:
    said = [{"type": "NamespaceContentRemaining", "status": "True", "message": "x" * 10_000}, "odd", None]
    assert len(stuck_because({"status": {"conditions": said}})) == 500
    assert stuck_because({"status": "odd"}) == stuck_because({}) == ""
