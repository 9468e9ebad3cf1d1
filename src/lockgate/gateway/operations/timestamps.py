"""Times as policies read them; it reads no clock."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache


def rfc3339(ms: int) -> str:
    """Unix ms as RFC 3339 in UTC, to the second: what policies read as `input.context.now`."""
    return _second(ms // 1000)


@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    """Some hundred decisions are made in the same second, and history tells each operation of many callers again and again."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
