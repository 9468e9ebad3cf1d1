"""Ansible callback plugin: writes one JSON line per task result to the file LOCKGATE_EVENTS; it must not import Lockgate or show what no_log hides.

It runs in Ansible's process, beside code the source brought: what it writes is a claim (TRUST §2).
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
    name: lockgate_events
    type: stdout
    short_description: JSON lines for Lockgate
    description: One JSON object per line and task result, bounded.
"""

MAX_FILE_BYTES = 24 << 20
MAX_VALUE_CHARACTERS = 16_384
MAX_MESSAGE_CHARACTERS = 2_000
MAX_PARTS = 200
GONE = frozenset({"absent", "removed", "deleted", "uninstalled", "purged", "terminated", "killed"})
HIDDEN = {"hidden": "no_log"}


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Ansible's name for it; see `DOCUMENTATION`."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "lockgate_events"

    def __init__(self) -> None:
        super().__init__()
        self._file = open(os.environ["LOCKGATE_EVENTS"], "x", encoding="utf-8")  # noqa: SIM115, PTH123 -- lives as long as the plugin
        self._written = 0
        self._play = ""

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._play = str(play.get_name())[:MAX_MESSAGE_CHARACTERS]

    def v2_playbook_on_no_hosts_matched(self) -> None:
        self._write({"event": "no_hosts", "play": self._play})

    def v2_runner_on_ok(self, result: Any) -> None:
        self._result("ok", result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._result("skipped", result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._result("ignored" if ignore_errors else "failed", result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._result("unreachable", result)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        hosts = {host: stats.summarize(host) for host in sorted(stats.processed)}
        self._write({"event": "end", "hosts": hosts})

    def _result(self, event: str, result: Any) -> None:
        host, task, data = result.host.get_name(), result.task, result.result
        no_log = bool(task.no_log is True or data.get("_ansible_no_log") or "censored" in data)
        name = str(task.get_name()).strip()[:MAX_MESSAGE_CHARACTERS]
        changed = bool(result.is_changed())
        self._display.display(f"{'changed' if changed else event}: [{host}] {name}")
        self._write(
            {
                "event": event,
                "host": host,
                "task": name,
                "module": str(task.resolved_action or task.action),
                "changed": changed,
                "check_mode": bool(task.check_mode),
                "no_log": no_log,
                "gone": _gone(task, data),
                "parts": [] if no_log or not changed else _parts(data),
                "why": _why(data, no_log),
                "unmet": _unmet(data),
            }
        )

    def _write(self, event: dict[str, Any]) -> None:
        line = json.dumps(event, ensure_ascii=True, sort_keys=True, default=str) + "\n"
        self._written += len(line)
        if self._written > MAX_FILE_BYTES:
            line = '{"event": "overflow"}\n' if self._written - len(line) <= MAX_FILE_BYTES else ""
        self._file.write(line)
        self._file.flush()


def _items(data: Any) -> list[Any]:
    """The results of a loop, or the one result; of a squashed or a foreign shape, nothing."""
    found = data.get("results")
    if (
        isinstance(found, list)
        and found
        and all(isinstance(item, dict) and "ansible_loop_var" in item for item in found)
    ):
        return found
    return [data]


def _parts(data: Any) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    for item in _items(data):
        if not item.get("changed"):
            continue
        if item.get("_ansible_no_log") or "censored" in item:
            parts.append({"before": None, "after": HIDDEN, "new": False})
            continue
        diffs = item.get("diff") or []
        for diff in diffs if isinstance(diffs, list) else [diffs]:
            if isinstance(diff, dict) and diff:
                parts.append(_part(diff))
    if len(parts) > MAX_PARTS:
        rest = hashlib.sha256(json.dumps(parts[MAX_PARTS:], sort_keys=True, default=str).encode()).hexdigest()
        parts = [
            *parts[:MAX_PARTS],
            {"before": None, "after": {"more": len(parts) - MAX_PARTS, "sha256": rest}, "new": False},
        ]
    return parts


def _part(diff: dict[str, Any]) -> dict[str, Any]:
    before, after = diff.get("before"), diff.get("after")
    part: dict[str, Any] = {"before": _bounded(before), "after": _bounded(after)}
    if "before_header" in diff:
        part["path"] = _bounded(str(diff["before_header"]))
    if "prepared" in diff:
        part["after"] = _bounded(str(diff["prepared"]))
    for key in ("dst_binary", "src_binary", "dst_larger", "src_larger"):
        if key in diff:
            part[key] = diff[key]
    new_file = before == "" and "before_header" not in diff and not diff.get("dst_binary")
    part["new"] = new_file or (isinstance(before, dict) and before.get("state") == "absent")
    part["gone"] = isinstance(after, dict) and after.get("state") == "absent"
    return part


def _bounded(value: Any) -> Any:
    """The value, or when it is large its beginning, its size and its digest: two different values never look the same."""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    if len(text) <= MAX_VALUE_CHARACTERS:
        return value
    digest = hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()
    return {"beginning": text[:MAX_VALUE_CHARACTERS], "characters": len(text), "sha256": digest}


def _gone(task: Any, data: Any) -> bool:
    """Whether the task says its object shall not exist; from its arguments as given and as the module received them."""
    states = [task.args.get("state")] if isinstance(task.args, dict) else []
    for item in _items(data):
        states.append(item.get("state"))
        invocation = item.get("invocation")
        arguments = invocation.get("module_args") if isinstance(invocation, dict) else None
        if isinstance(arguments, dict):
            states.append(arguments.get("state"))
    return any(isinstance(state, str) and state.lower() in GONE for state in states)


def _why(data: Any, no_log: bool) -> str:
    if no_log:
        return "hidden by no_log"
    texts = [item.get("msg") or item.get("skip_reason") or item.get("skipped_reason") for item in _items(data)]
    return str(next((text for text in texts if text), data.get("msg") or ""))[:MAX_MESSAGE_CHARACTERS]


def _unmet(data: Any) -> bool:
    """Whether a skip is the playbook's own doing (a condition, an empty loop) rather than check mode's. Unknown is no."""
    return all(
        "false_condition" in item
        or item.get("skip_reason") == "Conditional result was False"
        or item.get("skipped_reason") == "No items in the list"
        for item in _items(data)
    )
