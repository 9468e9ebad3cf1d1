"""`make bench`: every figure in one run, as a table and in build/bench.json. Loopback and a cluster of this machine only; some ten minutes on a quiet one.

Exit codes: 0 every goal that is a ratio is met, 1 one is missed, 2 something could not be measured (a store in memory, for one).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shlex
import sys
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog
import uvloop
from tests.bench.figures import Figure, Report, shown
from tests.bench.goals import GOALS
from tests.bench.machine import NoDisk, describe, require_disk
from tests.bench.processes import ROOT, SHIPPED_BUT, directory
from tests.cluster.place import ClusterError

Part = Callable[[Path], Coroutine[Any, Any, list[Figure]]]
BUSY = 0.5
"""Load average from which on the report says that it was not alone."""
AS_SERVED = frozenset({"decisions", "engines"})
"""Parts in which this process does what a gateway does: on the gateway's event loop."""
MET, MISSED, UNMEASURED = 0, 1, 2


def parts(options: argparse.Namespace) -> dict[str, Part]:
    """What is measured, in order."""
    from tests.bench import clusters, decisions, engines, governed, history, sandboxes, stores, swaps

    return {
        "decisions": decisions.measure,
        "engines": engines.measure,
        "swaps": swaps.measure,
        "sandboxes": sandboxes.measure,
        "kubernetes": lambda place: clusters.measure(place, clusters.Size(more=75 if options.soak else 0)),
        "store": stores.measure,
        "governed": lambda place: governed.measure(place, governed.Size()),
        "history": lambda place: history.measure(place, history.Size(steady_seconds=600 if options.soak else 60)),
    }


def main(
    arguments: Sequence[str],
    offered: Callable[[argparse.Namespace], Mapping[str, Part]] = parts,
    out: Path = ROOT / "build",
) -> int:
    """Measure, print, write, judge."""
    options = _parser(out).parse_args(arguments)
    options.dir = options.dir.resolve()  # OPA's socket lies below it, and is named from its root
    options.dir.mkdir(parents=True, exist_ok=True)
    try:
        mount = require_disk(options.dir)
    except NoDisk as refused:
        sys.stderr.write(f"{refused}\n")
        return UNMEASURED
    report = Report(describe(mount), shlex.join(["python", "-m", "tests.bench", *arguments]), remarks=list(SHIPPED_BUT))
    if os.getloadavg()[0] > BUSY:
        report.remarks.append(
            "this machine is busy with other work: CPU ratios hold; times, rates and above all p99 are worse than they would be"
        )
    started = time.monotonic()
    offer = offered(options)
    for name in options.only or offer:
        if name not in offer:
            sys.stderr.write(f"--only {name}: there are {', '.join(offer)}\n")
            return UNMEASURED
        sys.stderr.write(f"bench: {name} ...\n")
        with directory(options.dir) as place:
            try:
                with asyncio.Runner(loop_factory=uvloop.new_event_loop if name in AS_SERVED else None) as runner:
                    found = runner.run(offer[name](place))
            except ClusterError as error:
                sys.stderr.write(f"{error}\n")
                return UNMEASURED
        for figure in found:
            sys.stderr.write(f"  {figure.name}: {shown(figure.value)} {figure.unit}\n")
        report.figures += found
    report.remarks.append(f"measured in {time.monotonic() - started:.0f} s")
    unmeasured = sorted(set(GOALS) - {figure.name for figure in report.figures})
    if not options.only:
        report.write(out / "bench.json")
    print(report.markdown() if options.markdown else report.table())
    for figure in report.failed:
        sys.stderr.write(f"missed: {figure.name} is {figure.value:.3g}, goal {figure.goal_words}\n")
    if unmeasured and not options.only:
        sys.stderr.write(f"not measured, so not shown to be met: {', '.join(unmeasured)}\n")
        return UNMEASURED
    return MISSED if report.failed else MET


def _parser(out: Path) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--dir", type=Path, default=out, help="where stores and sandboxes are made: on a disk")
    parser.add_argument("--only", action="append", metavar="PART", help="one part (repeatable); then no bench.json")
    parser.add_argument(
        "--soak",
        action="store_true",
        help="the steady load for ten minutes instead of one, 100 attempts in the cluster",
    )
    parser.add_argument("--markdown", action="store_true", help="print the table of docs/performance.md")
    return parser


if __name__ == "__main__":
    structlog.configure(
        logger_factory=structlog.PrintLoggerFactory(sys.stderr)
    )  # the product logs beside the table, not into it
    sys.exit(main(sys.argv[1:]))
