"""Gateway or runner is killed before, inside and after every step of an operation's way, and at its commits, calls, journal lines and sandboxes.

All scenarios of one process share a few deployments that run side by side; each test looks at the kills of one function.
"""

from __future__ import annotations

import importlib
import inspect
import itertools
import queue
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from tests.faults.checker import Ledger, check
from tests.faults.order import Order
from tests.faults.plant import Plant, Supervised, plant
from tests.faults.stepfaults import Fault
from tests.faults.supervisor import STEPS

pytestmark = pytest.mark.faults
LANES = 3
TRIES = 4
ENDS = ("before", "after")
CALLS = ("before", "called", "after")
WAITS = ("before", "waiting", "after")
COMMITS = ("before", "waiting", "unsynced", "synced", "after")

ADMISSION, PROGRESS, RUN = "gateway.admission", "gateway.progress", "runner.run"
GATEWAY: dict[tuple[str, str | None], tuple[str, ...]] = {
    (f"{ADMISSION}.arrive", None): CALLS,
    (f"{ADMISSION}.identify", None): CALLS,
    (f"{ADMISSION}.decide", None): CALLS,
    (f"{ADMISSION}.record", None): COMMITS,
    (f"{PROGRESS}.queue", "plan"): CALLS,
    (f"{PROGRESS}.lease", "plan"): COMMITS,
    (f"{PROGRESS}.start", "plan"): COMMITS,
    (f"{PROGRESS}.decide_plan", None): COMMITS,
    (f"{PROGRESS}.approve", None): CALLS,
    (f"{PROGRESS}.lease", "apply"): COMMITS,
    (f"{PROGRESS}.check_stage", "apply"): CALLS,
    (f"{PROGRESS}.start", "apply"): COMMITS,
    (f"{PROGRESS}.finish", "apply"): COMMITS,
    (f"{PROGRESS}.settle", "apply"): COMMITS,
}
RUNNER: dict[tuple[str, str | None], tuple[str, ...]] = {
    (f"{RUN}.seal_inputs", "plan"): WAITS,
    (f"{RUN}.plan_phase", "plan"): ("before", "waiting", "sending", "answered", "journalled", "sandboxed", "after"),
    (f"{RUN}.tear_down", "plan"): ("before", "waiting", "journalled", "answered", "after"),
    (f"{RUN}.check", None): ("before", "waiting", "journalled", "sandboxed", "after"),
    (f"{RUN}.apply", None): ("before", "waiting", "sending", "answered", "journalled", "sandboxed", "after"),
    (f"{RUN}.keep", "plan"): ENDS,  # a driver of predicted fidelity has nothing to keep: there is no inside
    (f"{RUN}.settle", "apply"): CALLS,
    (f"{RUN}.revoke", None): WAITS,
    (f"{RUN}.verify", None): ("before", "waiting", "sandboxed", "after"),
    (f"{RUN}.tear_down", "apply"): ("before", "waiting", "journalled", "answered", "after"),
}
TABLES = {"gateway": GATEWAY, "runner": RUNNER}
POINTS = [(what, step, phase) for what, table in TABLES.items() for step, phase in table]


@dataclass
class Lane:
    """One deployment and the orders it was given; scenarios follow each other on it."""

    plant: Plant
    number: int
    orders: list[Order] = field(default_factory=list)
    names: Iterator[int] = field(default_factory=itertools.count)

    def order(self) -> Order:
        """A new operation of a service of its own."""
        order = Order(self.plant, f"s{self.number}-{next(self.names)}").begin()
        self.orders.append(order)
        return order

    def scenario(self, what: str, step: str, phase: str | None) -> list[str]:
        """Kill at every moment of one function; operations go on through several deaths, and a new one is asked for when one has ended."""
        process, order = getattr(self.plant, what), None
        faults = [Fault(step, phase, moment) for moment in TABLES[what][step, phase]]
        process.arm(faults[0])
        for fault, then in itertools.zip_longest(faults, faults[1:]):
            for _ in range(TRIES):
                order = self.order() if order is None or order.over() else order
                if self.struck(process, order):
                    break
            else:
                raise AssertionError(f"{fault.name} was never reached\n{self.plant.logs()}")
            self.plant.again(what, fault.name, then)
        if order is not None:
            order.result()
        return [fault.moment for fault in faults]

    def struck(self, process: Supervised, order: Order) -> bool:
        """Whether the armed moment came before the operation ended."""
        while not order.over():
            if process.hit(0.1):
                return True
            process.require_alive()
        order.result()
        return bool(process.hit(1))


@dataclass
class Matrix:
    """What the lanes found: moments by point, errors by point, and one ledger."""

    struck: dict[tuple[str, str, str | None], list[str]] = field(default_factory=dict)
    errors: dict[tuple[str, str, str | None], BaseException] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)


@pytest.fixture(scope="module")
def matrix(ledger: Ledger) -> Matrix:
    """Every scenario, on a few deployments side by side, and the one check afterwards."""
    due: queue.SimpleQueue[tuple[str, str, str | None]] = queue.SimpleQueue()
    for point in POINTS:
        due.put(point)
    found = Matrix()
    with ThreadPoolExecutor(LANES) as lanes:
        for part in lanes.map(lambda number: run_lane(number, due, found), range(LANES)):
            found.ledger.add(part)
    ledger.add(found.ledger)
    return found


def run_lane(number: int, due: queue.SimpleQueue[tuple[str, str, str | None]], found: Matrix) -> Ledger:
    """Take scenarios until none is left, then look at what this deployment leaves behind."""
    with plant() as made:
        made.up("gateway")
        made.up("runner")
        lane = Lane(made, number)
        while True:
            try:
                point = due.get_nowait()
            except queue.Empty:
                return check(made, lane.orders)
            try:
                found.struck[point] = lane.scenario(*point)
            except (AssertionError, OSError) as error:
                found.errors[point] = error
                return Ledger(faults=[f"lane {number} ended at {point}: {error}"])


@pytest.mark.parametrize("point", POINTS, ids=lambda point: "-".join(filter(None, point)).replace("gateway.", ""))
def test_a_death_at_any_moment_of_a_step_is_survived(matrix: Matrix, point: tuple[str, str, str | None]) -> None:
    what, step, phase = point
    if point in matrix.errors:
        raise matrix.errors[point]
    assert matrix.struck.get(point) == list(TABLES[what][step, phase])


def test_every_accepted_operation_has_one_honest_end_and_nothing_is_left(matrix: Matrix) -> None:
    assert not matrix.ledger.faults, "\n".join(matrix.ledger.faults)
    assert (matrix.ledger.lost, matrix.ledger.doubled, matrix.ledger.unproven) == (0, 0, 0)
    assert matrix.ledger.kills == sum(len(moments) for table in TABLES.values() for moments in table.values())


def test_the_table_kills_in_every_marked_function_of_every_step() -> None:
    """A step that gets a new function must get its deaths here."""
    steps: set[int] = set()
    inside: set[int] = set()
    for what, modules in STEPS.items():
        marked = {
            f"{name.removeprefix('lockgate.')}.{label}": function.lockgate_steps
            for name in modules
            for label, function in inspect.getmembers(importlib.import_module(name), inspect.isfunction)
            if function.__module__ == name and hasattr(function, "lockgate_steps")
        }
        assert set(marked) == {step for step, _ in TABLES[what]}
        steps |= {number for numbers in marked.values() for number in numbers}
        assert all((moments[0], moments[-1]) == ENDS for moments in TABLES[what].values())
        killed = {step for (step, _), moments in TABLES[what].items() if len(moments) > 2}
        inside |= {number for step in killed for number in marked[step]}
    assert steps == inside == set(range(1, 15))
