"""Reads the list of changes a check command may print; it must not repair a malformed one."""

from __future__ import annotations

from typing import Any

from lockgate.contract.strictjson import StrictJSONError, loads
from lockgate.job.drivers.port import resource_change

MAX_CHANGES = 10_000
_ACTIONS = frozenset({"create", "update", "delete", "read", "no-op", "forget"})
_TEXTS = ("address", "type", "name")
_CHANGE = frozenset(
    {"actions", "before", "after", "after_unknown", "before_sensitive", "after_sensitive", "replace_paths"}
)


class BadChanges(ValueError):
    """The command printed JSON that looks like changes and is not; the text names the field."""


def read_changes(stdout: str) -> tuple[dict[str, Any], ...]:
    """Terraform-format resource changes printed as a JSON list or as `{"changes": [...]}`; empty when the text is anything else.

    Raises BadChanges when there is such a list and an entry lacks address, type, name or change.actions.
    """
    text = stdout.strip()
    if not text.startswith(("[", "{")):
        return ()
    try:
        value = loads(text.encode(), max_bytes=8 << 20)
    except StrictJSONError:
        return ()
    if isinstance(value, dict):
        value = value.get("changes")
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > MAX_CHANGES:
        raise BadChanges(f"must be a list of at most {MAX_CHANGES} changes")
    return tuple(_change(item, f"changes[{index}]") for index, item in enumerate(value))


def _change(item: Any, field: str) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise BadChanges(f"{field}: must be an object")
    for key in _TEXTS:
        if not isinstance(item.get(key), str) or not item[key]:
            raise BadChanges(f"{field}.{key}: must be text")
    change = item.get("change")
    if not isinstance(change, dict) or not set(change) <= _CHANGE:
        raise BadChanges(f"{field}.change: must be an object of {', '.join(sorted(_CHANGE))}")
    actions = change.get("actions")
    if not isinstance(actions, list) or not actions or not all(isinstance(a, str) and a in _ACTIONS for a in actions):
        raise BadChanges(f"{field}.change.actions: must be a list of {', '.join(sorted(_ACTIONS))}")
    provider = item.get("provider_name", "lockgate/runbook")
    if not isinstance(provider, str):
        raise BadChanges(f"{field}.provider_name: must be text")
    return resource_change(
        item["address"], item["type"], item["name"], provider, {"before": None, "after": None, **change}
    )
