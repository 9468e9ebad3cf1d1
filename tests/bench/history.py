"""What a long history costs: CPU and latency of a new call with 100,000 operations stored beside the first thousand's, and memory under a steady load."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from pathlib import Path

from tests.bench.figures import Figure, median
from tests.bench.governed import CLIENTS, Caller, Governed
from tests.bench.load import drive
from tests.bench.machine import cpu_seconds, resident_bytes
from tests.bench.processes import Home, Served, gateway, make_home

from lockgate.gateway.settings import load_gateway_settings
from lockgate.gateway.store.port import Admit, Done, GetDecision, GetEpoch, GetOperation, ListOperations
from lockgate.gateway.store.sqlite import SqliteStore

TENANT = "default"


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured. The steady load is 100 calls a second."""

    stored: int = 100_000
    rounds: int = 6
    calls: int = 150
    quiet_calls: int = 80
    steady_seconds: int = 60
    steady_rate: int = 100


@dataclass(frozen=True, slots=True)
class Cost:
    """One round of one gateway: CPU in seconds, and the median latency of one call at a time."""

    cpu: float
    latency: float


async def measure(place: Path, size: Size) -> list[Figure]:
    """A fresh gateway and one with a history, turn by turn, then the steady load on the latter. Raises CallFailed."""
    fresh, old = make_home(place / "fresh"), make_home(place / "old")
    check, young, caller = Governed(), Caller(fresh), Caller(old)
    with gateway(old) as ours:
        await _warm(ours, caller, check)
    filled = await _fill(old, size.stored)
    with gateway(fresh) as first, gateway(old) as ours:
        await _warm(first, young, check)
        await _warm(ours, caller, check)
        pairs = [await _turn((first, young), (ours, caller), check, size, number) for number in range(size.rounds)]
        steady = await _steady(ours, caller, check, size)
    cpu = median([later.cpu / early.cpu for early, later in pairs])
    latency = median([later.latency / early.latency for early, later in pairs])
    note = (
        f"{filled:,} stored, beside a fresh gateway turn by turn; median of {size.rounds} rounds of {size.calls} calls"
    )
    return [
        Figure("CPU, 100,000 stored / first 1,000", cpu, "x", note),
        Figure("latency, 100,000 stored / first 1,000", latency, "x", "median of one call at a time, the same way"),
        *steady,
    ]


async def _warm(ours: Served, caller: Caller, check: Governed) -> None:
    await drive(ours.port, caller.requests(ours.port, 100), check, clients=CLIENTS)


Asked = tuple[Served, Caller]


async def _turn(fresh: Asked, old: Asked, check: Governed, size: Size, number: int) -> tuple[Cost, Cost]:
    """Both, one right after the other, so that what else the machine does weighs on both; who is first changes every round."""
    if number % 2:
        later = await _round(*old, check, size)
        return await _round(*fresh, check, size), later
    return await _round(*fresh, check, size), await _round(*old, check, size)


async def _round(ours: Served, caller: Caller, check: Governed, size: Size) -> Cost:
    requests = caller.requests(ours.port, size.calls)
    before = cpu_seconds(ours.pid)
    await drive(ours.port, requests, check, clients=CLIENTS)
    used = cpu_seconds(ours.pid) - before
    alone = await drive(ours.port, caller.requests(ours.port, size.quiet_calls), check, clients=1)
    return Cost(used, median(alone.latencies))


async def _fill(home: Home, stored: int) -> int:
    """Operations as the gateway records them, put into its store while it is down: copies of real ones under new ids and keys."""
    store = SqliteStore(load_gateway_settings(home.path / "gateway.yaml").store)
    await store.migrate()
    try:
        samples = await store.read(ListOperations(TENANT, limit=100))
        there = len(samples)
        decisions = {sample.id: await store.read(GetDecision(sample.decision)) for sample in samples}
        epoch, pending = await store.read(GetEpoch()), set()
        for number in range(stored):
            sample = samples[number % len(samples)]
            operation = replace(sample, id=f"op_history{number}")
            decision = decisions[sample.id]
            if decision is None:
                raise RuntimeError(f"{sample.id}: its decision is not in the store")
            command = Admit(
                operation=operation,
                idempotency_scope=f"history-{number}",
                decision=replace(decision, id=f"dec_history{number}", operation=operation.id),
                entries=(),
                epoch=epoch,
                now=operation.created_at,
                spends=decision.allow,
            )
            pending.add(asyncio.ensure_future(store.commit(command)))
            if len(pending) >= 1_000:
                _accepted(await asyncio.gather(*pending))
                pending.clear()
        _accepted(await asyncio.gather(*pending))
        if await store.read(GetOperation(f"op_history{stored - 1}")) is None:
            raise RuntimeError("the history was not stored")
    finally:
        await store.close()
    return stored + there


def _accepted(outcomes: list[object]) -> None:
    if not all(isinstance(outcome, Done) for outcome in outcomes):
        raise RuntimeError("a part of the history was not stored")


async def _steady(ours: Served, caller: Caller, check: Governed, size: Size) -> list[Figure]:
    """RSS once a second under the steady load: the last quarter beside the second one, the first being warm-up."""
    samples: list[tuple[float, int]] = []
    began = time.monotonic()

    async def watch() -> None:
        while True:
            samples.append((time.monotonic() - began, resident_bytes(ours.pid)))
            await asyncio.sleep(1)

    watching = asyncio.create_task(watch())
    count = size.steady_rate * size.steady_seconds
    try:
        await drive(ours.port, caller.stream(ours.port, count), check, clients=CLIENTS, rate=size.steady_rate)
    finally:
        watching.cancel()
    quarter = max(1, len(samples) // 4)
    second = median([rss for _, rss in samples[quarter : 2 * quarter]])
    last = median([rss for _, rss in samples[-quarter:]])
    seconds = samples[-1][0]
    growth = (last - second) / 2**20 / (seconds / 2) * 60
    note = f"{count:,} calls in {seconds:.0f} s at {size.steady_rate}/s: median of the last quarter / of the second"
    return [
        Figure("RSS, end / start of a steady load", last / second, "x", note),
        Figure("RSS growth under a steady load", growth, "MB/min", f"from {second / 2**20:.0f} MB"),
    ]
