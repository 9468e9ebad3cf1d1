"""Makes a process's disk and clock behave badly, from inside it and by the kernel's own means; it must not touch another process."""

from __future__ import annotations

import time
from typing import Any


class Troubles:
    """What is wrong with this process's world. Keys of a trouble: `clock` (seconds that wall time is off)."""

    def __init__(self, what: str, trouble: dict[str, Any]) -> None:
        self._what = what
        self._trouble = trouble

    def begin(self) -> None:
        """Put the wrappers in place; called before the product starts."""
        real, real_ns = time.time, time.time_ns
        time.time = lambda: real() + self._trouble.get("clock", 0)
        time.time_ns = lambda: real_ns() + int(self._trouble.get("clock", 0) * 1e9)

    def change(self, trouble: dict[str, Any]) -> None:
        """From now on it is this."""
        self._trouble = trouble
