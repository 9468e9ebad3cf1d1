"""Every goal of the bench in one table. A goal that is a ratio of two figures of one run binds on any machine; the others on a quiet one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Goal:
    """`ratio`: both sides were measured in the same run, turn by turn, so that a miss is no excuse of the machine: it fails the bench."""

    at_most: float | None = None
    at_least: float | None = None
    ratio: bool = False

    def met(self, value: float) -> bool:
        """Whether a value reaches it; what is no number reaches nothing."""
        if self.at_most is not None:
            return value <= self.at_most
        return self.at_least is not None and value >= self.at_least

    def words(self, unit: str) -> str:
        """The goal as people read it."""
        sign, bound = ("<=", self.at_most) if self.at_most is not None else (">=", self.at_least)
        return f"{sign} {bound:,g} {unit}".rstrip()


def _ratio(**bound: float) -> Goal:
    return Goal(ratio=True, **bound)


GOALS = {
    "governed / echo, CPU": _ratio(at_most=4),
    "governed / echo, p99 at half capacity": _ratio(at_most=10),
    "with budgets and history / plain, CPU": _ratio(at_most=2),
    "group commit / one by one": _ratio(at_least=3),
    "durable decisions, 256 callers": Goal(at_least=5_000),
    "request decision p99": Goal(at_most=1),
    "request decision p99, durable": Goal(at_most=3),
    "plan decision p99, 5 changes, durable": Goal(at_most=8),
    "plan decision p99, 200 changes, durable": Goal(at_most=60),
    "OPA server: request decision p99, durable": Goal(at_most=3),
    "OPA server: plan decision p99, 5 changes, durable": Goal(at_most=10),
    "OPA server: plan decision p99, 200 changes, durable": Goal(at_most=45),
    "RSS, after all evaluations / after a tenth": _ratio(at_most=1.05),
    # No ratio, and binding all the same: a wrong answer has no machine to blame.
    "swap under 500/s: errors and mixed answers": Goal(at_most=0, ratio=True),
    "swap under 500/s: timed out": Goal(at_most=0),
    "ready / bare python, p50": _ratio(at_most=3),
    "teardown proven, p99": Goal(at_most=200),
    "cluster: lease to the job's ready, p50": Goal(at_most=1_300),
    "cluster: lease to the job's ready, p95": Goal(at_most=2_000),
    "cluster: teardown to checked absence, p95": Goal(at_most=8_000),
    # However slow a machine is, all of them end well.
    "cluster: of 20 attempts at once, proven gone": Goal(at_least=20, ratio=True),
    "cluster: runner's RSS, end / start": _ratio(at_most=1.05),
    "gateway idle RSS": Goal(at_most=150),
    "CPU, 100,000 stored / first 1,000": _ratio(at_most=1.2),
    "latency, 100,000 stored / first 1,000": _ratio(at_most=1.2),
    "RSS, end / start of a steady load": _ratio(at_most=1.05),
}
"""By the figure's name. A figure whose name does not stand here is shown for comparison."""
