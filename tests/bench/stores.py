"""Durable decisions through the store with 256 callers, beside one commit per decision on the same disk, with the fsyncs they took."""

from __future__ import annotations

import os
from pathlib import Path

from tests.bench.bench_store import decisions
from tests.bench.figures import Figure
from tests.bench.machine import SyncCount

CALLERS = 256


async def measure(place: Path) -> list[Figure]:
    """Both ways with the same records; fsyncs are counted in runs of their own, since counting slows them."""
    together = await decisions(place / "together", CALLERS, 80, 512)
    alone = await decisions(place / "alone", CALLERS, 8, 1)
    ratio = together["decisions_per_second"] / alone["decisions_per_second"]
    counts = await _syncs(place)
    return [
        Figure("durable decisions, 256 callers", together["decisions_per_second"], "/s", note=counts[0]),
        Figure("one commit per decision", alone["decisions_per_second"], "/s", note=counts[1]),
        Figure("group commit / one by one", ratio, "x"),
        Figure("CPU per durable decision", together["cpu_us"], "µs", note="event loop and writer thread"),
        Figure("durable decision p99, 256 callers", together["p99_ms"], "ms"),
        Figure("point read of an operation", together["point_read_us"], "µs"),
    ]


async def _syncs(place: Path) -> tuple[str, str]:
    notes = []
    for name, each, limit in (("together", 20, 512), ("alone", 2, 1)):
        with SyncCount(os.getpid(), place / f"{name}.txt") as syncs:
            found = await decisions(place / f"{name}-traced", CALLERS, each, limit)
        fsyncs = "fsyncs not counted (no strace)" if syncs.count is None else f"{syncs.count} fsyncs"
        notes.append(f"{fsyncs} and {found['commits']:.0f} commits for {CALLERS * each} decisions, in a run of its own")
    return notes[0], notes[1]
