"""Room in a queue is counted now and then, reserved at every call and given back by whoever does not queue."""

from __future__ import annotations

from typing import Any

from lockgate.gateway.scheduling.room import COUNT_MS, FAR_MS, QueueRoom
from lockgate.gateway.store.port import TenantLoad


class Queue:
    """A store of which only the length of one queue is asked."""

    def __init__(self, queued: int) -> None:
        self.queued = queued
        self.asked: list[TenantLoad] = []

    async def read(self, query: Any) -> Any:
        self.asked.append(query)
        return min(self.queued, query.at_most), 0


async def test_a_count_is_believed_for_a_while_and_looks_no_further_than_the_cap() -> None:
    store: Any = Queue(queued=10_000)
    room = QueueRoom()
    assert not await room.take(store, "default", 100, now=0)
    assert not await room.take(store, "default", 100, now=COUNT_MS - 1)
    assert store.asked == [TenantLoad("default", at_most=100)]
    store.queued = 0
    assert await room.take(store, "default", 100, now=COUNT_MS)


async def test_places_taken_meanwhile_are_counted_and_those_given_back_are_free() -> None:
    store: Any = Queue(queued=1)
    room = QueueRoom()
    assert [await room.take(store, "default", 3, now=0) for _ in range(3)] == [True, True, False]
    room.settle("default", queued=False)
    assert [await room.take(store, "default", 3, now=0) for _ in range(2)] == [True, False]
    assert await room.take(store, "other", 3, now=0), "each tenant has its own"


async def test_far_from_the_cap_it_is_counted_seldom_and_from_half_of_it_on_often() -> None:
    store: Any = Queue(queued=0)
    room = QueueRoom()

    async def queued(now: int) -> bool:
        """One that is queued, and taken away by a runner before the next count."""
        free = await room.take(store, "default", 10, now)
        room.settle("default", queued=True)
        return free

    assert await queued(0)
    assert await queued(FAR_MS - 1)
    assert len(store.asked) == 1
    assert await queued(FAR_MS)
    assert len(store.asked) == 2
    for _ in range(4):  # with the one before, half of the cap
        assert await queued(FAR_MS)
    assert await room.take(store, "default", 10, now=FAR_MS + COUNT_MS)
    assert len(store.asked) == 3


async def test_a_queue_that_filled_otherwise_is_noticed_within_the_longer_time() -> None:
    store: Any = Queue(queued=0)
    room = QueueRoom()
    assert await room.take(store, "default", 10, now=0)
    store.queued = 10
    assert not await room.take(store, "default", 10, now=FAR_MS)


async def test_what_is_taken_while_somebody_counts_stays_taken() -> None:
    room = QueueRoom()

    class Slow(Queue):
        """The first read lets everybody else in first."""

        async def read(self, query: Any) -> Any:
            answer = await super().read(query)
            if len(self.asked) == 2:
                self.others = [await room.take(self, "default", 4, now=FAR_MS) for _ in range(3)]  # type: ignore[arg-type]
            return answer

    store: Any = Slow(queued=0)
    assert await room.take(store, "default", 4, now=0)
    room.settle("default", queued=True)
    store.queued = 1
    assert await room.take(store, "default", 4, now=FAR_MS) is False, "one is stored, and three were taken meanwhile"
    assert store.others == [True, True, True]


async def test_a_count_does_not_miss_the_places_of_calls_that_are_under_way() -> None:
    """What a call reserved and has not recorded yet is in no count of the store."""
    store: Any = Queue(queued=0)
    room = QueueRoom()
    assert [await room.take(store, "default", 4, now=0) for _ in range(3)] == [True] * 3
    assert [await room.take(store, "default", 4, now=FAR_MS) for _ in range(2)] == [True, False]
    for queued in (True, True, False, True):
        room.settle("default", queued=queued)
    store.queued = 3
    assert [await room.take(store, "default", 4, now=2 * FAR_MS) for _ in range(2)] == [True, False]


async def test_a_clock_that_is_put_back_makes_no_count_younger() -> None:
    store: Any = Queue(queued=10)
    room = QueueRoom()
    assert not await room.take(store, "default", 10, now=3_600_000)
    store.queued = 0
    assert await room.take(store, "default", 10, now=0)
