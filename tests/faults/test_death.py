"""Gateway or runner is killed before, inside and after every step of an operation's way, and at its commits, calls, journal lines and sandboxes.

All scenarios of one process share a few deployments that run side by side; each test looks at the kills of one function.
"""

from __future__ import annotations

import importlib
import inspect
import itertools
import queue
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
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
SPAN = 900.0
"""Seconds for one operation to come to its end: it lives through several deaths, each with a start and a lease that runs out."""

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
        order = Order(self.plant, f"s{self.number}-{next(self.names)}", patience=SPAN).begin()
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
                said = order.story() if order else ""
                raise AssertionError(f"{fault.name} was never reached: {said}\n{self.plant.logs()}")
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
    """What the lanes find while the tests wait for it: the moments of each point, or its error, and a ledger for each deployment."""

    struck: dict[tuple[str, str, str | None], Future[list[str]]]
    lanes: list[Future[Ledger]] = field(default_factory=list)


@pytest.fixture(scope="module")
def matrix(ledger: Ledger) -> Iterator[Matrix]:
    """Every scenario, on a few deployments side by side; each test waits for its own, so that none takes as long as all of them."""
    due: queue.SimpleQueue[tuple[str, str, str | None]] = queue.SimpleQueue()
    for point in POINTS:
        due.put(point)
    found = Matrix({point: Future() for point in POINTS})
    with ThreadPoolExecutor(LANES) as pool:
        found.lanes = [pool.submit(run_lane, number, due, found) for number in range(LANES)]
        try:
            yield found
        finally:
            while not due.empty():  # a run that is broken off
                due.get()
    for lane in found.lanes:
        ledger.add(lane.result())


def run_lane(number: int, due: queue.SimpleQueue[tuple[str, str, str | None]], found: Matrix) -> Ledger:
    """Take scenarios until none is left; after one that failed, on a new deployment, so that it stays one failure."""
    ledger, whole = Ledger(), False
    while not whole:
        try:
            with plant() as made:
                made.up("gateway")
                made.up("runner")
                lane = Lane(made, number)
                whole = follow(lane, due, found)
                # What a scenario that failed has left is its own failure's, and nobody else's.
                ledger.add(check(made, lane.orders) if whole else Ledger(kills=len(made.kills)))
        except (AssertionError, OSError) as error:
            ledger.faults.append(f"lane {number}: {error}")
            whole = due.empty()
            if not whole:
                found.struck[due.get()].set_exception(error)  # else its test would wait for ever
    return ledger


def follow(lane: Lane, due: queue.SimpleQueue[tuple[str, str, str | None]], found: Matrix) -> bool:
    """One scenario after the other on this deployment; False when one failed."""
    while True:
        try:
            point = due.get_nowait()
        except queue.Empty:
            return True
        try:
            found.struck[point].set_result(lane.scenario(*point))
        except Exception as error:  # noqa: BLE001  (whatever it is, it is this point's, and its test's to raise)
            found.struck[point].set_exception(error)
            return False


@pytest.mark.parametrize("point", POINTS, ids=lambda point: "-".join(filter(None, point)).replace("gateway.", ""))
def test_a_death_at_any_moment_of_a_step_is_survived(matrix: Matrix, point: tuple[str, str, str | None]) -> None:
    what, step, phase = point
    assert matrix.struck[point].result() == list(TABLES[what][step, phase])


def test_every_accepted_operation_has_one_honest_end_and_nothing_is_left(matrix: Matrix) -> None:
    found = Ledger()
    for lane in matrix.lanes:
        found.add(lane.result())
    assert not found.faults, "\n".join(found.faults)
    assert (found.lost, found.doubled, found.unproven) == (0, 0, 0)
    assert found.kills == sum(len(moments) for table in TABLES.values() for moments in table.values())


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
