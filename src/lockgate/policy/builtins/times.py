"""Built-ins of Rego's `time.` that look at no clock: moments are nanoseconds since the epoch, zones those of this machine's database."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE
)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_NS = 10**9
_INT64 = 2**63


class UnknownZone(ValueError):
    """There is no such IANA zone on this machine."""


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
    name = operand[1] if isinstance(operand, list) and len(operand) > 1 else "UTC"
    if name == "Local":
        raise ValueError("the zone of a machine is no part of the question")
    return (_EPOCH + dt.timedelta(seconds=_nanoseconds(operand) // _NS)).astimezone(zone(name))


def _nanoseconds(operand: Any) -> int:
    number = operand[0] if isinstance(operand, list) else operand
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    if isinstance(number, bool) or not isinstance(number, int) or not -_INT64 <= number < _INT64:
        raise ValueError("no nanoseconds")
    return number


def _clock(operand: Any) -> list[int]:
    at = _local(operand)
    return [at.hour, at.minute, at.second]


def _date(operand: Any) -> list[int]:
    at = _local(operand)
    return [at.year, at.month, at.day]


_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def _weekday(operand: Any) -> str:
    return _WEEKDAYS[_local(operand).weekday()]


def _add_date(operand: Any, years: Any, months: Any, days: Any) -> int:
    """As Go: a day that the month does not have runs over into the next; the time of day is kept in the zone."""
    at = _local(operand)
    for number in (years, months, days):
        if isinstance(number, bool) or not isinstance(number, int):
            raise ValueError("no whole number")
    year, month = divmod(at.year * 12 + at.month - 1 + years * 12 + months, 12)
    first = dt.datetime(year, month + 1, 1, at.hour, at.minute, at.second, tzinfo=dt.UTC)
    since = _meant(first + dt.timedelta(days=at.day - 1 + days), at.tzinfo) - _EPOCH
    nanoseconds = (since.days * 86400 + since.seconds) * _NS + _nanoseconds(operand) % _NS
    if not -_INT64 <= nanoseconds < _INT64:
        raise ValueError("time outside 64 bits")
    return nanoseconds


def _meant(clock: dt.datetime, where: dt.tzinfo | None) -> dt.datetime:
    """The moment that Go means by a time of day (given as if it were UTC), also where the zone has it twice or not at all."""
    offset = clock.astimezone(where).utcoffset() or dt.timedelta()
    return clock - ((clock - offset).astimezone(where).utcoffset() or dt.timedelta())


def _diff(one: Any, other: Any) -> list[int]:
    """Years, months, days, hours, minutes, seconds between two moments, in the first one's zone."""
    first = _local(one)
    second = _local(other).astimezone(first.tzinfo)
    if _nanoseconds(one) > _nanoseconds(other):
        first, second = second, first
    parts = [getattr(second, name) - getattr(first, name) for name in _PARTS]
    for place, full in ((5, 60), (4, 60), (3, 24), (2, _days_of_month(first)), (1, 12)):
        if parts[place] < 0:
            parts[place] += full
            parts[place - 1] -= 1
    return parts


_PARTS: Final = ("year", "month", "day", "hour", "minute", "second")


def _days_of_month(at: dt.datetime) -> int:
    after = dt.date(at.year + at.month // 12, at.month % 12 + 1, 1)
    return (after - dt.date(at.year, at.month, 1)).days


_UNITS: Final = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": _NS,
    "m": 60 * _NS,
    "h": 3600 * _NS,
    "d": 24 * 3600 * _NS,
    "w": 7 * 24 * 3600 * _NS,
    "y": 365 * 24 * 3600 * _NS,
}
_DURATION: Final = re.compile(
    r"[+-]?(?:0|(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h|d|w|y))+)", re.ASCII
)
_SEGMENT: Final = re.compile(r"([0-9]*)(?:\.([0-9]*))?(ns|us|µs|μs|ms|s|m|h|d|w|y)", re.ASCII)


def _parse_duration(text: Any) -> int:
    """Nanoseconds of a duration such as `1h30m`; OPA has days, weeks and years (of 365 days) besides Go's units."""
    if not _DURATION.fullmatch(text):
        raise ValueError("no duration")
    total = 0
    for whole, fraction, unit in _SEGMENT.findall(text):
        scale = _UNITS[unit]
        if unit in "dwy":
            # OPA multiplies doubles and writes the hours anew.
            hours = Decimal(repr(float(f"{whole or 0}.{fraction or 0}") * (scale // (3600 * _NS))))
            total += int(hours * 3600 * _NS)
            continue
        total += int(whole or 0) * scale + (int(fraction) * scale // 10 ** len(fraction) if fraction else 0)
    total = -total if text[0] == "-" else total
    if not -_INT64 <= total < _INT64:
        raise ValueError("duration outside 64 bits")
    return total


TIMES: Final[Mapping[str, Callable[..., Any]]] = {
    "time.parse_rfc3339_ns": parse_rfc3339_ns,
    "time.clock": _clock,
    "time.date": _date,
    "time.weekday": _weekday,
    "time.add_date": _add_date,
    "time.diff": _diff,
    "time.parse_duration_ns": _parse_duration,
}
