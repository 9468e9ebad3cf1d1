"""Policy is replaced again and again while questions come at a fixed rate; it must not leave out verifying, compiling or closing what is swapped.

The questions are asked of the policy in force in this process: what HTTP and the store cost stands in `governed`.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.decisions import document
from tests.bench.figures import Figure, percentile

from lockgate.contract.decision import Decision, Question
from lockgate.gateway.policykeeping import PolicyKeeper, Trust
from lockgate.gateway.policyopening import CLOCKS
from lockgate.policy.acceptance import Acceptance
from lockgate.policy.bundle import PolicyBundle, Release, library_with
from lockgate.policy.bundles.keys import (
    BundleKey,
    generate_signing_key,
    signing_key,
    verifying_key,
    write_verifying_key,
)
from lockgate.policy.bundles.release import signed_archive
from lockgate.policy.bundles.signature import Verifier
from lockgate.policy.embedded import complete_engine
from lockgate.policy.inforce import PolicyInForce
from lockgate.policy.sources.file import FileSource

RATE = 500
SECONDS = 10.0
RELEASES = 8
PLANNERS = 4
MOST_SWAPS = 60
DATA = """
version: 1
roles: {{operator: {{questions: {questions}}}}}
bindings: [{{subject: {{role: operator}}, roles: [operator]}}]
regions: {{default: [local]}}
approvals: {{approvers: [operator], standard: {{count: 1, groups: [], expires_in_seconds: {number}}}}}
"""


@dataclass
class Seen:
    """What came back: `wrong` are answers of the engine's own or of another revision than they name; `took` is ms from when it was due."""

    allowing: dict[str, bool]
    took: list[float] = field(default_factory=list)
    revisions: set[str] = field(default_factory=set)
    wrong: int = 0
    timed_out: int = 0

    async def ask(self, policy: PolicyInForce, number: int, due: float) -> None:
        """One question, whose answer must be the one of the revision that it names."""
        self.judge(await policy.decide(Question.REQUEST, document(Question.REQUEST, number)))
        self.took.append((time.perf_counter() - due) * 1000)

    async def plans(self, policy: PolicyInForce, load: asyncio.Task[None]) -> int:
        """Plan questions one after the other beside them: those wait for a thread, and are under way when policy is swapped."""
        number = 0
        while not load.done():
            self.judge(await policy.decide(Question.PLAN, document(Question.PLAN, number, changes=5)))
            number += 1
        return number

    def judge(self, decision: Decision) -> None:
        """Count an answer that is not the named revision's."""
        self.revisions.add(decision.revision)
        rules = [violation.rule for violation in decision.violations]
        if rules == ["lockgate.engine.timeout"] and decision.revision in self.allowing:
            self.timed_out += 1  # the deadline of one evaluation, which a machine without time to spare runs into
            return
        wanted = [] if self.allowing.get(decision.revision) else ["role"]
        self.wrong += decision.revision not in self.allowing or rules != wanted


def releases() -> list[PolicyBundle]:
    """Policies that allow the question and deny it, in turns."""
    texts = [
        DATA.format(number=60 + number, questions="[request, plan]" if number % 2 else "[list]")
        for number in range(RELEASES)
    ]
    return [library_with(text, "data.yaml") for text in texts]


async def measure(place: Path, seconds: float = SECONDS) -> list[Figure]:
    """Signed releases through the whole way of a bundle, as fast as they go, under RATE questions a second."""
    bundles = releases()
    key, verifier = _keys(place)
    path = place / "bundle.tar.gz"
    trust = Trust(Acceptance(signed=True), verifier)
    keeper = PolicyKeeper(PolicyInForce(CLOCKS), FileSource(path), trust, complete_engine, CLOCKS, 1.0, lambda: 0.0)
    now = int(time.time())
    archives = [signed_archive(bundles[n % RELEASES], Release(n + 1, now), key) for n in range(MOST_SWAPS + 1)]
    path.write_bytes(archives[0])
    await keeper.look()
    seen = Seen({bundle.revision: bool(number % 2) for number, bundle in enumerate(bundles)})
    load = asyncio.create_task(_load(keeper.in_force, seen, seconds))
    plans = [asyncio.create_task(seen.plans(keeper.in_force, load)) for _ in range(PLANNERS)]
    swaps = 0
    while not load.done() and swaps < MOST_SWAPS:
        swaps += 1
        path.with_name("draft").write_bytes(archives[swaps])
        path.with_name("draft").replace(path)
        await keeper.look()
        if keeper.error:
            raise RuntimeError(f"a release was refused: {keeper.error}")
    await load
    planned = sum(await asyncio.gather(*plans))
    await keeper.in_force.close()
    asked = len(seen.took)
    note = f"{asked} request decisions at {RATE}/s and {planned} plan decisions, {swaps} signed releases verified, compiled and swapped meanwhile"
    return [
        Figure(
            "swap under 500/s: errors and mixed answers", seen.wrong + (asked != int(RATE * seconds)), "", note=note
        ),
        Figure(
            "swap under 500/s: timed out", seen.timed_out, "", note="an evaluation has 50 ms, one of a plan a second"
        ),
        Figure("swap under 500/s: swaps", swaps, ""),
        Figure("swap under 500/s: revisions seen", len(seen.revisions), ""),
        Figure("swap under 500/s: decision p99", percentile(seen.took, 0.99), "ms", note="from when it was due"),
    ]


async def _load(policy: PolicyInForce, seen: Seen, seconds: float) -> None:
    """An open loop: a question that is late delays no other."""
    began = time.perf_counter()
    async with asyncio.TaskGroup() as asking:
        for number in range(int(RATE * seconds)):
            due = began + number / RATE
            await asyncio.sleep(due - time.perf_counter())
            asking.create_task(seen.ask(policy, number, due))


def _keys(place: Path) -> tuple[BundleKey, Verifier]:
    private, public = place / "release.pem", place / "release.pub"
    generate_signing_key(private)
    write_verifying_key(private, public)
    return signing_key("release", private), Verifier({"release": verifying_key("release", public)})
