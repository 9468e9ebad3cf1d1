"""Change windows, calendars, freezes and exceptions of policy data: their derived form, and what a schema cannot say of them. It knows no clock.

A date or time of day is one in the zone that stands beside it; a moment is RFC 3339, and derived as UTC to the second, so that Rego compares text.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any, Final

from lockgate.policy.builtins import zone
from lockgate.policy.located import Located, Path
from lockgate.policy.selectors import action_patterns, callers, selector, set_of

DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def derive_windows(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """`windows` with the calendars they are closed on; `days_after` and `dates_after` are for what began the day before."""
    calendars = {name: _calendar(calendar) for name, calendar in data.get("calendars", {}).items()}
    return [_window(window, calendars) for window in data.get("windows", ())]


def derive_freezes(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """`freezes`, from the moment `from` to the moment `until`, which is no longer frozen."""
    return [
        {
            "name": freeze["name"],
            "targets": selector(freeze.get("targets")),
            "from": utc(freeze["from"]),
            "until": utc(freeze["until"]),
        }
        for freeze in data.get("freezes", ())
    ]


def derive_exceptions(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """`exceptions`; a part that is null excepts any."""
    return [
        {
            "name": exception["name"],
            "rules": set_of(exception["rules"]),
            "subjects": callers(exception.get("subjects")),
            "actions": action_patterns(exception.get("actions")),
            "targets": selector(exception.get("targets")),
            "until": utc(exception["until"]),
        }
        for exception in data.get("exceptions", ())
    ]


def require_sound_times(located: Located) -> None:
    """Zones, dates and moments exist, and what is to last lasts. Raises PolicyLoadError with line and field."""
    data = located.value
    for name, calendar in data.get("calendars", {}).items():
        _require_zone(located, calendar["zone"], ("calendars", name, "zone"))
        for index, date in enumerate(calendar["dates"]):
            _require_date(located, date, ("calendars", name, "dates", index))
    for index, window in enumerate(data.get("windows", ())):
        _require_window(located, window, ("windows", index))
    for index, freeze in enumerate(data.get("freezes", ())):
        start, end = (_require_moment(located, freeze[part], ("freezes", index, part)) for part in ("from", "until"))
        if end <= start:
            raise located.refuse(("freezes", index, "until"), "is not after `from`: nothing would ever be frozen")
    for index, exception in enumerate(data.get("exceptions", ())):
        _require_moment(located, exception["until"], ("exceptions", index, "until"))


def utc(moment: str) -> str:
    """An RFC 3339 moment of whole seconds, such as 2026-12-18T18:00:00+01:00, as 2026-12-18T17:00:00. Raises ValueError."""
    return dt.datetime.fromisoformat(moment).astimezone(dt.UTC).replace(tzinfo=None).isoformat(timespec="seconds")


def _window(window: Mapping[str, Any], calendars: Mapping[str, Any]) -> dict[str, Any]:
    after = [DAYS[(DAYS.index(day) + 1) % 7] for day in window["days"]]
    return {
        "name": window["name"],
        "targets": selector(window["targets"]),
        "zone": window["zone"],
        "days": set_of(day.capitalize() for day in window["days"]),
        "days_after": set_of(day.capitalize() for day in after),
        "from": _minutes(window["from"]),
        "to": _minutes(window["to"]),
        "closed_on": [calendars[name] for name in window.get("closed_on", ())],
    }


def _calendar(calendar: Mapping[str, Any]) -> dict[str, Any]:
    days = [dt.date.fromisoformat(date) for date in calendar["dates"]]
    return {
        "zone": calendar["zone"],
        "dates": _dates(days),
        "dates_after": _dates(day + dt.timedelta(days=1) for day in days),
    }


def _dates(days: Iterable[dt.date]) -> dict[str, bool]:
    return set_of(day.strftime("%Y%m%d") for day in days)


def _minutes(clock: str) -> int:
    return int(clock[:2]) * 60 + int(clock[3:])


def _require_window(located: Located, window: Mapping[str, Any], path: Path) -> None:
    _require_zone(located, window["zone"], (*path, "zone"))
    if window["from"] == window["to"]:
        raise located.refuse((*path, "to"), "is the same as `from`: the window would never be open")
    for index, name in enumerate(window.get("closed_on", ())):
        if name not in located.value.get("calendars", {}):
            raise located.refuse((*path, "closed_on", index), f"there is no calendar {name!r} under `calendars`")


def _require_zone(located: Located, name: str, path: Path) -> None:
    try:
        zone(name)
    except ValueError as error:
        raise located.refuse(path, str(error)) from None


def _require_date(located: Located, date: str, path: Path) -> None:
    try:
        dt.date.fromisoformat(date) + dt.timedelta(days=1)
    except (ValueError, OverflowError):
        raise located.refuse(path, f"{date!r} is no date") from None


def _require_moment(located: Located, moment: str, path: Path) -> str:
    try:
        return utc(moment)
    except (ValueError, OverflowError):
        raise located.refuse(path, f"{moment!r} is no moment that exists") from None
