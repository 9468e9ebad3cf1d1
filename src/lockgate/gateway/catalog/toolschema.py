"""The MCP input schema of an action: its arguments and what every governed call takes beside them; it must stay in step with the intent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from lockgate.contract.intent import Effect

MIN_REASON: Final = 8
MAX_REASON: Final = 500
MAX_IDEMPOTENCY_KEY: Final = 128
IDEMPOTENCY_KEY_PATTERN: Final = r"^[A-Za-z0-9._:-]+$"
MAX_WAIT_SECONDS: Final = 60

WAIT: Final = {
    "type": "integer",
    "minimum": 0,
    "maximum": MAX_WAIT_SECONDS,
    "description": "Seconds to wait for the operation to end before answering with its current status.",
}
WHY: Final = {
    "reason": {
        "type": "string",
        "minLength": MIN_REASON,
        "maxLength": MAX_REASON,
        "description": "Why this change is wanted; approvers and the audit log see it.",
    },
    "idempotency_key": {
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_IDEMPOTENCY_KEY,
        "pattern": IDEMPOTENCY_KEY_PATTERN,
        "description": "A key of your choice; the same key with the same call answers with the same operation.",
    },
}
"""What every call that may change something is asked for, whichever tool it is: a reason and a key to repeat it by."""

_DRY_RUN: Final = {"type": "boolean", "description": "True: plan only, apply nothing."}


def tool_schema(arguments: dict[str, Any], effect: Effect, targets: Sequence[str]) -> dict[str, Any]:
    """The input schema of one tool for a caller who may address `targets` (names; at least one), from a published argument schema."""
    target = {"type": "string", "enum": sorted(targets), "description": "The target to act on."}
    schema = _with_controls(arguments, effect, target)
    return {
        **schema,
        "required": [*arguments.get("required", ()), "target", *(() if effect is Effect.READ else ("reason",))],
    }


def call_schema(arguments: dict[str, Any], effect: Effect) -> dict[str, Any]:
    """What a call is checked against: as `tool_schema`, but any target name, or none; the core resolves it within the caller's tenant."""
    schema = _with_controls(arguments, effect, {"type": "string", "maxLength": 63})
    return {**schema, "required": [*arguments.get("required", ()), *(() if effect is Effect.READ else ("reason",))]}


def _with_controls(arguments: dict[str, Any], effect: Effect, target: dict[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = {**arguments["properties"], "target": target, "wait_seconds": WAIT}
    if effect is not Effect.READ:
        properties |= {**WHY, "dry_run": _DRY_RUN}
    return {**arguments, "properties": properties, "additionalProperties": False}
