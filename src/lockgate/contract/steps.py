"""Names the fourteen steps of ARCHITECTURE §3, so that a test can check which function does which; it must not change how they run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

F = TypeVar("F", bound=Callable[..., object])

STEPS = {
    1: "arrive",
    2: "identify",
    3: "decide request",
    4: "record",
    5: "queue",
    6: "lease plan",
    7: "plan",
    8: "decide plan",
    9: "approve",
    10: "lease apply",
    11: "check",
    12: "start, apply",
    13: "revoke, verify, tear down",
    14: "answer and watch",
}


def step(number: int) -> Callable[[F], F]:
    """Mark a function as (part of) step `number`."""
    if number not in STEPS:
        raise ValueError(f"there is no step {number}")

    def mark(function: F) -> F:
        marked: list[int] = [*getattr(function, "lockgate_steps", []), number]
        function.lockgate_steps = marked  # type: ignore[attr-defined]
        return function

    return mark
