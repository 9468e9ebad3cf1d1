"""The line between runner and gateway is cut, silent, half-open or slow; a process stands still past its lease; a clock steps.

One deployment for all, one scenario after the other; each ends with the world mended, and with what must then be true of its operation.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.faults.checker import Ledger, check, store
from tests.faults.order import Order
from tests.faults.plant import PATIENCE, Plant, plant
from tests.faults.stepfaults import Fault
from tests.halting import halt, halted

pytestmark = pytest.mark.faults
PAUSE = threading.Event()
"""Never set: every waiting has a condition and a deadline."""


@dataclass
class Site:
    """The shared deployment with what was asked of it."""

    plant: Plant
    ledger: Ledger
    orders: list[Order] = field(default_factory=list)
    names: Iterator[int] = field(default_factory=itertools.count)

    def ask(self, hold: str | None = None, target: str = "web-dev") -> Order:
        """An operation that is being asked for; its tool waits in the stage `hold`."""
        order = Order(self.plant, f"t-{next(self.names)}", target)
        if hold is not None:
            self.holding(order, hold).touch()
        self.orders.append(order.begin())
        return order

    def holding(self, order: Order, stage: str) -> Path:
        """The file that makes the tool wait as long as it is there."""
        return self.plant.deployment.targets[order.target] / f"{order.service}.hold-{stage}"

    def held(self, stage: str, state: str, phase: str) -> tuple[Order, Path]:
        """An operation whose tool waits in that stage, once the gateway has it in that place and an apply has its permit; and the file that holds it."""
        order = self.ask(hold=stage)
        hold = self.holding(order, stage)
        self.comes_to(order, state, phase)
        if stage == "apply":
            until(hold.with_suffix(".in-apply").exists, lambda: f"not in apply: {order.story()}\n{self.plant.logs()}")
        return order, hold

    def comes_to(self, order: Order, state: str, phase: str | None = None) -> None:
        """Wait until the store has the operation there."""
        until(
            lambda: self.place(order) in [(state, phase), (state, None)],
            lambda: f"{self.place(order)} is not {(state, phase)}: {order.story()}\n{self.plant.logs()}",
        )

    def place(self, order: Order) -> tuple[str, str | None]:
        """State and phase as stored."""
        with store(self.plant.deployment.home) as rows:
            found = rows.all("SELECT body FROM operation WHERE id = ?", order.id)
        body: dict[str, Any] = json.loads(found[0][0]) if found else {"state": "unasked", "phase": None}
        return str(body["state"]), body["phase"]

    def lease_over(self, order: Order, place: tuple[str, str | None]) -> None:
        """Wait until the operation is no longer where it was: its lease has run out."""
        until(
            lambda: self.place(order) != place,
            lambda: f"the lease of {place} never ran out: {order.story()}\n{self.plant.logs()}",
        )


def until(what: Callable[[], bool], said: Callable[[], str]) -> None:
    """Wait for it; the deadline only keeps a broken test from waiting for ever."""
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, said()
        PAUSE.wait(0.05)


@pytest.fixture(scope="module")
def site(ledger: Ledger) -> Iterator[Site]:
    with plant() as made:
        made.up("gateway")
        made.up("runner")
        yield Site(made, ledger)


@pytest.fixture(autouse=True)
def nothing_stays_broken(site: Site, request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that fails leaves its trouble to no other one."""
    failed = request.session.testsfailed
    yield
    if request.session.testsfailed > failed:
        mended(site)
        for what in (site.plant.gateway, site.plant.runner):
            os.kill(what.pid, signal.SIGCONT)
            what.trouble()
        for hold in site.plant.deployment.home.rglob("*.hold-*"):
            hold.unlink()


def mended(site: Site) -> None:
    """The line is whole again; what was left of old connections is reset."""
    proxy = site.plant.proxy
    proxy.refused = proxy.up.held = proxy.down.held = False
    proxy.up.rate = proxy.down.rate = None
    proxy.cut()


def cut(site: Site) -> None:
    site.plant.proxy.refused = True
    site.plant.proxy.cut()


def silent_up(site: Site) -> None:
    site.plant.proxy.up.held = True


def silent_down(site: Site) -> None:
    site.plant.proxy.down.held = True


def silent(site: Site) -> None:
    silent_up(site)
    silent_down(site)


def stopped(site: Site) -> None:
    halt(site.plant.runner.pid)


def going(site: Site) -> None:
    os.kill(site.plant.runner.pid, signal.SIGCONT)


TROUBLES = {
    "cut": (cut, mended),
    "silent towards the gateway": (silent_up, mended),
    "silent towards the runner": (silent_down, mended),
    "silent both ways": (silent, mended),
    "runner stopped": (stopped, going),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_plan_whose_lease_ran_out_meanwhile_is_made_again(site: Site, trouble: str) -> None:
    begin, mend = TROUBLES[trouble]
    order, hold = site.held("plan", "running", "plan")
    begin(site)
    site.lease_over(order, ("running", "plan"))
    hold.unlink()
    mend(site)
    ended = order.result()
    assert (ended["status"], ended["effect"], order.applies) == ("succeeded", "full", 1), order.story()


@pytest.mark.parametrize("trouble", TROUBLES)
def test_an_apply_whose_lease_ran_out_is_unknown_until_its_late_report(site: Site, trouble: str) -> None:
    """Nobody resolves it: the writer may live, and then says itself what happened."""
    begin, mend = TROUBLES[trouble]
    order, hold = site.held("apply", "running", "apply")
    begin(site)
    site.comes_to(order, "indeterminate")
    assert order.applies == 0
    hold.unlink()
    mend(site)
    ended = order.result()
    assert (ended["status"], ended["effect"], order.applies, order.resolved) == ("succeeded", "full", 1, None), (
        order.story()
    )


@pytest.mark.parametrize("trouble", ["cut", "silent towards the runner"])
def test_a_start_whose_answer_is_lost_applies_nothing_and_waits_for_a_human(site: Site, trouble: str) -> None:
    """The gateway has committed a start; the runner has no permit, so it does nothing, and says later only that it is gone."""
    begin, mend = TROUBLES[trouble]
    gateway = site.plant.gateway
    # The gateway itself stands still between commit and answer: only there is it certain that the start arrived and its answer will not.
    gateway.arm(Fault("gateway.progress.start", "apply", "after", signal.SIGSTOP))
    order = site.ask()
    assert gateway.hit(PATIENCE), f"the start never came: {order.story()}\n{site.plant.logs()}"
    silent_down(site)
    halted(gateway.pid)
    os.kill(gateway.pid, signal.SIGCONT)
    site.comes_to(order, "running", "apply")
    begin(site)
    site.comes_to(order, "indeterminate")
    mend(site)
    ended = order.result()
    assert (ended["status"], ended["effect"], order.applies, order.resolved) == ("failed", "none", 0, "failed_none"), (
        order.story()
    )


def test_a_half_open_line_holds_nobody(site: Site) -> None:
    """The runner's end is gone, the gateway's stays: as after a lost route. The runner comes back over a new line."""
    order, hold = site.held("plan", "running", "plan")
    site.plant.proxy.vanish()
    hold.unlink()
    ended = order.result()
    assert (ended["status"], order.applies) == ("succeeded", 1), order.story()
    mended(site)


def test_a_slow_line_is_slow_and_no_more(site: Site) -> None:
    order, hold = site.held("plan", "running", "plan")
    site.plant.proxy.up.rate = site.plant.proxy.down.rate = 30_000
    hold.unlink()
    ended = order.result()
    assert (ended["status"], order.applies) == ("succeeded", 1), order.story()
    mended(site)


@pytest.mark.parametrize("what", ["gateway"])
@pytest.mark.parametrize("stage", ["plan", "apply"])
def test_a_process_that_stood_still_finds_out_that_time_has_passed(site: Site, what: str, stage: str) -> None:
    order, hold = site.held(stage, "running", stage)
    process = getattr(site.plant, what)
    halt(process.pid)
    hold.unlink()
    stood = time.monotonic()
    until(lambda: time.monotonic() - stood > 7, site.plant.logs)  # what runs out in it is a lease of 5 s
    os.kill(process.pid, signal.SIGCONT)
    ended = order.result()
    assert (ended["status"], ended["effect"], order.applies, order.resolved) == ("succeeded", "full", 1, None), (
        order.story()
    )


@pytest.mark.parametrize("stage", ["plan", "apply"])
@pytest.mark.parametrize("seconds", [20, -20])
@pytest.mark.parametrize("what", ["gateway", "runner"])
def test_a_clock_that_steps_loses_no_operation_and_doubles_none(
    site: Site, what: str, seconds: int, stage: str
) -> None:
    """Forward: leases run out at once. Back: they last longer. The runner's wall clock decides nothing."""
    order, hold = site.held(stage, "running", stage)
    getattr(site.plant, what).trouble(clock=seconds)
    hold.unlink()
    ended = order.result()
    getattr(site.plant, what).trouble()
    assert (ended["status"], ended["effect"], order.applies, order.resolved) == ("succeeded", "full", 1, None), (
        order.story()
    )


def test_afterwards_all_is_accounted_for(site: Site) -> None:
    """The last of this module."""
    found = check(site.plant, site.orders)
    site.ledger.add(found)
    assert not found.faults, "\n".join(found.faults)
    assert (found.lost, found.doubled, found.unproven) == (0, 0, 0)
