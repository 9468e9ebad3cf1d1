"""Token buckets per principal: a caller who asks too fast is told when to come back, and is never locked out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from lockgate.gateway.errors import TooMany

MAX_CALLERS = 10_000


class Rates:
    """`per_second` calls in the long run, `burst` at once, for each of at most 10,000 callers remembered. `clock` is Unix ms."""

    def __init__(self, per_second: float, burst: int, clock: Callable[[], int]) -> None:
        self._rate = per_second / 1000
        self._burst = float(burst)
        self._clock = clock
        self._callers: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def take(self, caller: str) -> None:
        """Count one call. Raises TooMany with the seconds to wait; such a call is no operation."""
        now = self._clock()
        tokens, since = self._callers.pop(caller, (self._burst, now))
        tokens = min(self._burst, tokens + max(0, now - since) * self._rate)
        self._callers[caller] = (tokens - 1 if tokens >= 1 else tokens, now)
        if len(self._callers) > MAX_CALLERS:
            self._callers.popitem(last=False)
        if tokens < 1:
            wait = (1 - tokens) / self._rate / 1000
            raise TooMany("Too many calls; nothing was recorded.", retry_after=round(wait + 0.05, 2))
