"""The few Rego built-ins that OPA's Wasm target leaves to its host; all pure. What is not here denies."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE
)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_NS = 10**9
_INT64 = 2**63


class BuiltinRefused(Exception):
    """A built-in is not offered, or refuses its operands; the decision is no. Correct the policy."""

    rule = "lockgate.engine.builtin"

    def __init__(self, name: str, problem: str) -> None:
        self.name = name
        super().__init__(f"{name}: {problem}")


class ZoneMissing(BuiltinRefused):
    """This machine's zone database does not have the zone. Install tzdata; the next decision looks again."""

    rule = "lockgate.engine.time_zones"


class UnknownZone(ValueError):
    """There is no such IANA zone on this machine."""


def call_builtin(name: str, operands: list[Any]) -> Any:
    """The value of the built-in `name`. Raises BuiltinRefused; never answers *undefined*, which a deny rule would miss."""
    function = OFFERED.get(name)
    if function is None:
        raise BuiltinRefused(name, "this engine does not offer it")
    try:
        return function(*operands)
    except UnknownZone as missing:
        raise ZoneMissing(name, str(missing)) from None
    except (ValueError, TypeError, OverflowError, ArithmeticError, LookupError) as error:
        raise BuiltinRefused(name, f"refuses its operands ({type(error).__name__})") from None


@lru_cache(maxsize=256)
def zone(name: str) -> ZoneInfo:
    """The IANA zone `name`; "" is UTC as in OPA. Raises UnknownZone, which is a ValueError."""
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UnknownZone(f"{name[:64]!r} is no IANA time zone on this machine") from None


def parse_rfc3339_ns(text: Any) -> int:
    """Nanoseconds since the epoch; refuses what does not fit 64 bits, as OPA does."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError("no RFC 3339 time")
    *parts, fraction, offset = match.groups()
    stamp = dt.datetime(*(int(part) for part in parts), tzinfo=_offset(offset))  # type: ignore[misc,arg-type]
    since = stamp - _EPOCH
    nanoseconds = (since.days * 86400 + since.seconds) * _NS + int((fraction or "").ljust(9, "0"))
    if not -_INT64 <= nanoseconds < _INT64:
        raise ValueError("time outside 64 bits")
    return nanoseconds


def _offset(text: str) -> dt.timezone:
    if text in "Zz":
        return dt.UTC
    minutes = int(text[1:3]) * 60 + int(text[4:6])
    return dt.timezone(dt.timedelta(minutes=-minutes if text[0] == "-" else minutes))


def _local(operand: Any) -> dt.datetime:
    """`ns` or `[ns, zone]` as a moment in that zone (UTC without one)."""
    nanoseconds, name = operand if isinstance(operand, list) else (operand, "UTC")
    if isinstance(nanoseconds, bool) or not isinstance(nanoseconds, int) or not -_INT64 <= nanoseconds < _INT64:
        raise ValueError("no nanoseconds")
    return (_EPOCH + dt.timedelta(seconds=nanoseconds // _NS)).astimezone(zone(name))


def _clock(operand: Any) -> list[int]:
    at = _local(operand)
    return [at.hour, at.minute, at.second]


def _date(operand: Any) -> list[int]:
    at = _local(operand)
    return [at.year, at.month, at.day]


_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def _weekday(operand: Any) -> str:
    return _WEEKDAYS[_local(operand).weekday()]


OFFERED: Final[Mapping[str, Callable[..., Any]]] = {
    "time.parse_rfc3339_ns": parse_rfc3339_ns,
    "time.clock": _clock,
    "time.date": _date,
    "time.weekday": _weekday,
}
"""Name → function over JSON values; each is tested against OPA (tests/unit/policy/test_builtins.py)."""
