"""Whether a bundle is still young enough to be believed. It reads no clock and decides nothing else (ADR 27)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from lockgate.policy.bundle import Release

CLOCK_SKEW: Final = 300
"""How many seconds the signer's clock may be ahead of ours."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """`wall` is Unix seconds and may be set by anybody; `elapsed` is seconds that only go forward, suspension included."""

    wall: Callable[[], float]
    elapsed: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Freshness:
    """How old a bundle may get: `max_age` seconds after `signed_at`, by whichever clock says it is older.

    `wall` and `elapsed` are what the clocks said when it was taken. So a wall clock that is set back makes no bundle younger, while one that was wrong
    then, and has the bundle come from the future, makes its age unknown: which is too old.
    """

    signed_at: int
    max_age: int
    wall: float
    elapsed: float

    @classmethod
    def of(cls, release: Release | None, bound: int | None, clocks: Clocks) -> Freshness | None:
        """For a bundle taken now; `bound` is this deployment's own. None: it may get as old as it likes."""
        ages = [age for age in (release.max_age if release else None, bound) if age is not None]
        if release is None or not ages:
            return None
        return cls(release.signed_at, min(ages), clocks.wall(), clocks.elapsed())

    def age(self, clocks: Clocks) -> float:
        """Seconds since it was signed, as far as anybody can tell; below zero: the clock was behind from the start, and is."""
        since = clocks.elapsed() - self.elapsed
        return max(clocks.wall() - self.signed_at, self.wall - self.signed_at + since)

    def problem(self, clocks: Clocks) -> str | None:
        """Why it must not be believed now, in words for whoever asked; None: it may."""
        age = self.age(clocks)
        if age < -CLOCK_SKEW:
            return "its age is unknown: by this gateway's clock it was signed in the future"
        return None if age <= self.max_age else f"it was to be replaced within {self.max_age} seconds of its signature"
