"""Durable decisions per second of the SQLite store, group commit beside one commit per decision, in the same run."""

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path

from lockgate.gateway.store.port import Done, GetEpoch, GetOperation
from lockgate.gateway.store.sqlite import SqliteStore
from lockgate.testing.records import admit, operation


async def decisions(folder: Path, callers: int, each: int, batch_limit: int) -> dict[str, float]:
    """`callers` tasks record `each` decisions one after the other; every one is durable when it is counted."""
    store = SqliteStore(folder / f"bench-{batch_limit}.db", batch_limit=batch_limit)
    await store.migrate()
    epoch = await store.read(GetEpoch())
    took: list[float] = []
    commands = [
        [admit(operation(f"op-{number}-{turn}"), scope=f"scope-{number}-{turn}", epoch=epoch) for turn in range(each)]
        for number in range(callers)
    ]

    async def caller(number: int) -> None:
        for command in commands[number]:
            began = time.perf_counter()
            outcome = await store.commit(command)
            took.append(time.perf_counter() - began)
            assert isinstance(outcome, Done)

    before = store.commits
    used = time.process_time()
    began = time.perf_counter()
    await asyncio.gather(*(caller(number) for number in range(callers)))
    seconds = time.perf_counter() - began
    used = time.process_time() - used
    commits = store.commits - before
    reads = time.perf_counter()
    for turn in range(1000):
        await store.read(GetOperation(f"op-{turn % callers}-0"))
    read_us = (time.perf_counter() - reads) * 1000
    await store.close()
    took.sort()
    return {
        "decisions_per_second": callers * each / seconds,
        "cpu_us": used / (callers * each) * 1e6,
        "commits": commits,
        "p50_ms": took[len(took) // 2] * 1000,
        "p99_ms": took[len(took) * 99 // 100] * 1000,
        "point_read_us": read_us,
    }


async def measure(callers: int = 256, each: int = 80) -> dict[str, dict[str, float]]:
    """Both ways in one run; the slow one with fewer decisions."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        return {
            "group_commit": await decisions(Path(name), callers, each, 512),
            "one_commit_per_decision": await decisions(Path(name), callers, max(1, each // 10), 1),
        }


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--callers", type=int, default=256)
    parser.add_argument("--each", type=int, default=80)
    options = parser.parse_args()
    print(json.dumps(asyncio.run(measure(options.callers, options.each)), indent=2))


if __name__ == "__main__":
    main()
