"""`make conformance`: runs the MCP project's conformance suite against the product's front door and prints the score; it must not end well short of all.

Usage: .venv/bin/python -m tests.conformance [--bare]. The suite is the program named by LOCKGATE_CONFORMANCE, else the one of `tools/get conformance`.
`--bare` runs it against the product without the suite's tools, for the record; that cannot pass.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcp.shared.exceptions import MCPDeprecationWarning
from tests.conformance.deployment import ROOT, agent_token, gateway, make_home, suite_offers
from tests.conformance.proxy import header_adding_proxy
from tests.ports import free_ports

from lockgate.gateway.api.offers import NOTHING

SCORED = {"2026-07-28": 37, "2025-11-25": 30}
"""Scenarios that each revision requires of a server; the suite's own count must agree."""

RUN_SECONDS = 900.0


@dataclass(frozen=True)
class Score:
    """How one revision's run ended: `failed` names scenarios, `unscored` is how the optional ones did."""

    revision: str
    passed: tuple[str, ...]
    failed: tuple[str, ...]
    unscored: str
    ended: int

    @property
    def whole(self) -> bool:
        """All that are scored passed, and the suite says so too."""
        return self.ended == 0 and not self.failed and len(self.passed) == SCORED[self.revision]


def program() -> str:
    """The suite's path."""
    given = os.environ.get("LOCKGATE_CONFORMANCE")
    if given:
        return given
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "get"), "conformance"], check=False, stdout=subprocess.PIPE, text=True
    )
    if done.returncode:
        sys.exit("the conformance suite could not be installed; see above")
    return done.stdout.strip()


def required(suite: str, revision: str) -> tuple[str, ...]:
    """The server scenarios that the suite's requirement set scores."""
    folder = Path(suite).resolve().parent / "node_modules/@modelcontextprotocol/conformance/requirements"
    text = (folder / f"{revision}.yaml").read_text()
    listed = re.search(r"^server:\n((?:  - .+\n)+)", text, re.MULTILINE)
    assert listed is not None, f"{revision}.yaml names no server scenarios"
    return tuple(line.strip("- \n") for line in listed[1].splitlines())


async def run(suite: str, revision: str, url: str, out: Path) -> Score:
    """One run of the suite for one revision of the protocol."""
    argv = [suite, "server", "--url", url, "--requirements", revision, "-o", str(out)]
    with (out / "output.txt").open("wb") as sink:
        process = await asyncio.create_subprocess_exec(*argv, stdout=sink, stderr=asyncio.subprocess.STDOUT, cwd=out)
        try:
            async with asyncio.timeout(RUN_SECONDS):
                ended = await process.wait()
        except TimeoutError:
            process.kill()
            ended = await process.wait()
    verdicts = {name: verdict_of(out, name) for name in required(suite, revision)}
    known = {path.name for path in out.iterdir() if path.is_dir()}
    others = Counter(verdict_of(out, name) for name in sorted(_names(known) - set(verdicts)))
    return Score(
        revision,
        tuple(name for name, verdict in verdicts.items() if verdict == "passed"),
        tuple(name for name, verdict in verdicts.items() if verdict != "passed"),
        ", ".join(f"{count} {verdict}" for verdict, count in sorted(others.items())) or "none",
        ended,
    )


def _names(folders: set[str]) -> set[str]:
    return {re.sub(r"^server-(.+)-\d{4}-\d\d-\d\dT.*$", r"\1", name) for name in folders}


def verdict_of(out: Path, scenario: str) -> str:
    """As the suite scores: `passed` for a scenario that ran, checked something, and none of whose checks failed. Warnings are printed."""
    found = _results(out, scenario)
    if not found:
        return "not run"
    checks: list[dict[str, Any]] = json.loads(found[-1].read_text())
    return "passed" if checks and all(check["status"] != "FAILURE" for check in checks) else "failed"


def _results(out: Path, scenario: str) -> list[Path]:
    return sorted(out.glob(f"server-{scenario}-2[0-9][0-9][0-9]-*/checks.json"))


def complaints(out: Path, scenario: str) -> list[str]:
    """What a scenario's checks failed for or warned of."""
    found = _results(out, scenario)
    checks = json.loads(found[-1].read_text()) if found else []
    return [
        f"    {check['status'].lower()} {check['id']}: {check.get('errorMessage') or check.get('details')}"[:400]
        for check in checks
        if check["status"] in ("FAILURE", "WARNING")
    ]


async def scores(suite: str, *, bare: bool = False) -> list[tuple[Score, Path]]:
    """Both revisions against one fresh deployment."""
    build = ROOT / "build" / "conformance"
    build.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="lockgate-conformance-") as folder:
        home = Path(folder) / "home"
        (public,) = free_ports(1)
        # The proxy's own port must be a name of the gateway's, and is known only once it listens.
        make_home(home, public, ("localhost:*",))
        found = []
        async with (
            gateway(home, NOTHING if bare else suite_offers()),
            header_adding_proxy(public, agent_token(home, "operator")) as port,
        ):
            for revision in SCORED:
                out = Path(tempfile.mkdtemp(prefix=f"{revision}-", dir=build))
                found.append((await run(suite, revision, f"http://localhost:{port}/mcp", out), out))
    return found


def main(argv: list[str]) -> None:
    """Print the score of both revisions; exit 1 unless every scored scenario passed."""
    if argv not in ([], ["--bare"]):
        sys.exit("usage: python -m tests.conformance [--bare]")
    warnings.simplefilter(
        "ignore", MCPDeprecationWarning
    )  # the older revision is made of what the newer one deprecates
    found = asyncio.run(scores(program(), bare=argv == ["--bare"]))
    for score, out in found:
        for name in (*score.passed, *score.failed):
            told = complaints(out, name)
            if told or name in score.failed:
                print(f"  {score.revision} {name}: {verdict_of(out, name)}", *told, sep="\n")
    parts = [f"{score.revision}: {len(score.passed)} of {SCORED[score.revision]}" for score, _ in found]
    for score, out in found:
        print(f"{score.revision}: not scored: {score.unscored}; checks and output in {out.relative_to(ROOT)}")
    print(f"conformance, scored scenarios passed: {'; '.join(parts)}")
    sys.exit(0 if all(score.whole for score, _ in found) else 1)


if __name__ == "__main__":
    main(sys.argv[1:])
