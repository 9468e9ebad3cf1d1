"""Deaths at random under load, from a seed: either process, at a random moment of a random step or at any time, while callers keep asking.

`make faults KILLS=200 SEED=7` makes it a long run; in `make test` it is a short one.
"""

from __future__ import annotations

import os
import random
import signal
import threading

import pytest
from tests.faults.checker import Ledger, check
from tests.faults.order import Order
from tests.faults.plant import Plant, plant
from tests.faults.stepfaults import Fault
from tests.faults.test_death import TABLES

pytestmark = pytest.mark.faults
KILLS = int(os.environ.get("LOCKGATE_FAULTS_KILLS", "12"))
SEED = int(os.environ.get("LOCKGATE_FAULTS_SEED", "1"))
ASKING = 4
"""How many callers have an operation under way at any time."""

PATIENCE = 600.0
"""Seconds for one operation to come to its end: its processes die again and again meanwhile."""

REACHED = 5.0
"""Seconds in which an armed moment must come; if none does, the process is killed where it is."""


def strike(made: Plant, dice: random.Random) -> None:
    """One death at a moment drawn from the dice, and the start that follows it."""
    what = dice.choice(["gateway", "runner"])
    process = getattr(made, what)
    step, phase = dice.choice(sorted(TABLES[what], key=str))
    fault = Fault(step, phase, dice.choice(TABLES[what][step, phase]))
    cause, wait = f"random: {fault.name}", REACHED
    if dice.random() < 0.5:
        cause, wait = f"random: {what} at any time", dice.random()
    else:
        process.arm(fault)
    if not process.hit(wait):
        os.kill(process.pid, signal.SIGKILL)
    made.again(what, cause)
    process.hit()  # the armed moment may have come together with our signal


def caller(made: Plant, number: int, over: threading.Event, orders: list[Order]) -> None:
    """Ask for one operation after the other, on both targets, until it is over."""
    turn = 0
    while not over.is_set():
        order = Order(made, f"r{number}-{turn}", "web-prod" if (turn + number) % 2 else "web-dev", PATIENCE).begin()
        orders.append(order)
        order.join()
        turn += 1


def test_random_deaths_under_load_lose_and_double_nothing(ledger: Ledger) -> None:
    dice, over = random.Random(SEED), threading.Event()
    orders: list[Order] = []
    with plant() as made:
        made.up("gateway")
        made.up("runner")
        callers = [
            threading.Thread(target=caller, args=(made, number, over, orders), daemon=True) for number in range(ASKING)
        ]
        for thread in callers:
            thread.start()
        try:
            for _ in range(KILLS):
                strike(made, dice)
        finally:
            over.set()
            for thread in callers:
                thread.join()
        found = check(made, orders)
        ledger.add(found)
    print(f"seed {SEED}: {found.kills} kills, {found.operations} operations")
    assert not found.faults, f"seed {SEED}: " + "\n".join(found.faults)
    assert (found.kills, found.lost, found.doubled, found.unproven) == (KILLS, 0, 0, 0)
