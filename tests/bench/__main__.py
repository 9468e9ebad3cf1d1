"""`make bench`: every figure in one run, as a table and in build/bench.json. Loopback only, at most four minutes; exits 0 until the goals bind."""

from __future__ import annotations

import argparse
import asyncio
import os
import shlex
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from tests.bench import decisions, governed, sandboxes, stores
from tests.bench.figures import Figure, Report
from tests.bench.machine import NoDisk, describe, require_disk
from tests.bench.processes import CALLS_PER_SECOND, ROOT, directory

PARTS: dict[str, Callable[[Path], Coroutine[Any, Any, list[Figure]]]] = {
    "decisions": lambda _: decisions.measure(),
    "sandboxes": sandboxes.measure,
    "store": stores.measure,
    "governed": lambda place: governed.measure(place, governed.Size()),
}

BUSY = 0.5
"""Load average from which on the report says that it was not alone."""


def main() -> int:
    """Measure, print, write. Exit codes: 0 measured, 1 something could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "--dir", type=Path, default=ROOT / "build", help="where stores and sandboxes are made: on a disk"
    )
    parser.add_argument(
        "--only", choices=sorted(PARTS), action="append", help="one part (repeatable); then no bench.json"
    )
    options = parser.parse_args()
    options.dir.mkdir(parents=True, exist_ok=True)
    try:
        mount = require_disk(options.dir)
    except NoDisk as refused:
        sys.stderr.write(f"{refused}\n")
        return 1
    report = Report(describe(mount), "python -m tests.bench " + shlex.join(sys.argv[1:]))
    report.remarks.append(
        f"bounds.calls_per_second is raised to {CALLS_PER_SECOND:,} for the bench (shipped: 20 a principal) and bounds.queued_per_tenant to 1,000,000 (shipped: 1,000); all else as shipped"
    )
    if os.getloadavg()[0] > BUSY:
        report.remarks.append(
            "this machine is busy with other work: CPU ratios hold, but times, rates and above all p99 are worse than they would be"
        )
    started = time.monotonic()
    for name in options.only or PARTS:
        sys.stderr.write(f"bench: {name} ...\n")
        with directory(options.dir) as place:
            report.figures += asyncio.run(PARTS[name](place))
    report.remarks.append(f"measured in {time.monotonic() - started:.0f} s")
    if not options.only:
        report.write(ROOT / "build" / "bench.json")
    print(report.table())
    return 0


if __name__ == "__main__":
    sys.exit(main())
