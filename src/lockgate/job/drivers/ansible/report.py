"""Turns the callback plugin's events into resource changes and admissions; it must not read silence as success."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lockgate.contract.strictjson import StrictJSONError, loads
from lockgate.job.drivers.port import resource_change

PROVIDER = "lockgate/ansible"
MAX_EVENTS_BYTES = 32 << 20
MAX_CHANGES = 10_000
_COMMANDS = frozenset(
    f"{prefix}{name}"
    for prefix in ("", "ansible.builtin.", "ansible.legacy.")
    for name in ("command", "shell", "raw", "script", "expect")
)


class BadReport(Exception):
    """Ansible ended without a whole report: what it would do or did is not known."""


@dataclass(slots=True)
class Report:
    """What the run said, ordered by host and then by the order of tasks on that host."""

    changes: list[dict[str, Any]] = field(default_factory=list)
    incomplete: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    hosts: int = 0


def read_report(events: Path) -> Report:
    """The report in an events file. Raises BadReport: missing, cut off, malformed, too large."""
    report, ended = Report(), False
    by_host: dict[str, list[dict[str, Any]]] = {}
    for event in _lines(events):
        kind = event["event"]
        if kind == "overflow":
            raise BadReport("the run reported more than can be shown; split the playbook or limit the hosts")
        if kind == "no_hosts":
            report.incomplete.append(f"play {event['play']!r} matched no host")
        elif kind == "end":
            report.hosts, ended = len(event["hosts"]), True
        else:
            by_host.setdefault(event["host"], []).append(event)
    if not ended:
        raise BadReport("the run ended before its summary")
    for host in sorted(by_host):
        _read_host(host, by_host[host], report)
    if len(report.changes) > MAX_CHANGES:
        raise BadReport(f"more than {MAX_CHANGES} changes; split the playbook or limit the hosts")
    return report


def _lines(events: Path) -> Iterator[dict[str, Any]]:
    try:
        with events.open("rb") as stream:
            data = stream.read(MAX_EVENTS_BYTES + 1)
    except OSError as error:
        raise BadReport(f"the run left no report ({error.strerror})") from None
    if len(data) > MAX_EVENTS_BYTES:
        raise BadReport(f"the report is larger than {MAX_EVENTS_BYTES} bytes")
    for line in data.splitlines():
        try:
            event = loads(line, max_bytes=MAX_EVENTS_BYTES, max_depth=64)
        except StrictJSONError as error:
            raise BadReport(f"the report is malformed: {error}") from None
        if not isinstance(event, dict) or not isinstance(event.get("event"), str):
            raise BadReport("the report is malformed: a line is no event")
        yield event


def _read_host(host: str, events: list[dict[str, Any]], report: Report) -> None:
    seen: dict[str, int] = {}
    for event in events:
        where = f"{host}: {event['task']}"
        seen[where] = seen.get(where, 0) + 1
        if seen[where] > 1:
            where = f"{where} #{seen[where]}"
        kind, why = event["event"], event["why"] or "no reason given"
        if kind in ("failed", "unreachable"):
            report.failures.append(f"{where}: {kind}: {why}")
            continue
        if event["changed"]:
            report.changes.append(_change(where, event))
        if kind == "ignored":
            report.incomplete.append(f"{where}: failed, and the playbook ignores it: {why}")
        elif kind == "skipped" and not event["unmet"]:
            report.incomplete.append(f"{where}: did not run in check mode: {why}")
        elif event["changed"] and event["check_mode"] and event["module"] in _COMMANDS:
            report.incomplete.append(f"{where}: what the command would do is not known")


def _change(where: str, event: dict[str, Any]) -> dict[str, Any]:
    """One changed task on one host: delete when its state says gone, create when all it touches is new, else update."""
    parts = event["parts"]
    before: Any = [_side(part, "before") for part in parts] or None
    after: Any = [_side(part, "after") for part in parts] or None
    if event["no_log"]:
        before, after = None, {"hidden": "no_log"}
    gone = event["gone"] or any(part.get("gone") for part in parts)
    new = bool(parts) and all(part["new"] for part in parts)
    actions = ["delete"] if gone else ["create"] if new else ["update"]
    change = {"actions": actions, "before": None if actions == ["create"] else before, "after": None if gone else after}
    return resource_change(where, "ansible_task", event["module"], PROVIDER, change)


def _side(part: dict[str, Any], side: str) -> Any:
    extra = {key: value for key, value in part.items() if key not in ("before", "after", "new", "gone")}
    return {"value": part[side], **extra} if extra else part[side]
