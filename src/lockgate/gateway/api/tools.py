"""MCP tools as documents: one per action the caller may see, and the helper tools with their closed schemas; it must not decide who sees what."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Protocol

import jsonschema_rs

from lockgate.contract.intent import Effect
from lockgate.gateway.catalog.explain import explain
from lockgate.gateway.catalog.model import pointer
from lockgate.gateway.catalog.toolschema import WAIT, WHY
from lockgate.gateway.errors import BadInput
from lockgate.gateway.operations.advice import APPLY_PLAN, CANCEL_OPERATION, EXPLAIN, GET_OPERATION
from lockgate.gateway.operations.states import EffectShown, State

LIST_TTL_MS: Final = 5_000
"""How long a client may keep its list of tools; policy and catalog may change at any time, and a call is always decided anew."""

REFUSED: Final = "refused"
"""`status` of an answer that no operation came of."""


class OfferedAction(Protocol):
    """An action as one caller may ask for it: `tool_schema` names only the targets this caller may address."""

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def effect(self) -> Effect: ...
    @property
    def idempotent(self) -> bool: ...
    @property
    def tool_schema(self) -> dict[str, Any]: ...


def _object(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def _maybe(kind: str) -> dict[str, Any]:
    return {"type": [kind, "null"]}


_TEXT: Final = {"type": "string"}
_COUNT: Final = {"type": "integer"}
_RULES: Final = {
    "type": "array",
    "items": _object(dict.fromkeys(("rule", "title", "message", "fix", "severity", "why"), _TEXT)),
}
_PLAN: Final = _object(
    {
        "digests": _object(dict.fromkeys(("file_sha256", "inputs_sha256", "semantic_sha256"), _TEXT)),
        "summary": _object(dict.fromkeys(("create", "update", "delete", "replace"), _COUNT)),
        "fidelity": _TEXT,
        "incomplete": {"type": "array", "items": _TEXT},
    }
)
_OUTPUT: Final = _object({"untrusted": {"const": True}, "text": _TEXT, "truncated": {"type": "boolean"}})
_NEXT: Final = _object(
    {"tool": _TEXT, "arguments": {"type": "object"}, "after_seconds": {"type": "number"}, "opens_at": _TEXT}
)
_RETRY: Final = _object(
    {"helps": {"type": "boolean"}, "after_seconds": _maybe("number"), "how": _TEXT}, "helps", "after_seconds", "how"
)
_STORY: Final = {
    "type": "array",
    "items": _object({"at": _COUNT, "what": _TEXT, "said": _TEXT}, "at", "what", "said"),
}
_ERROR: Final = _object(
    {
        "code": _TEXT,
        "message": _TEXT,
        "field": _TEXT,
        "fix": _TEXT,
        "retry": {"type": "boolean"},
        "retry_after_seconds": {"type": "number"},
        "rules": _RULES,
        "decision_id": _maybe("string"),
    },
    "code",
    "message",
    "retry",
)


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


OUTPUT_SCHEMA: Final[dict[str, Any]] = _object(
    {
        "operation_id": _TEXT,
        "status": {"enum": [*(state.value for state in State), REFUSED]},
        "phase": _maybe("string"),
        "waiting_for": _maybe("string"),
        "effect": {"enum": [*(effect.value for effect in EffectShown), None]},
        "message": _TEXT,
        "decision_id": _maybe("string"),
        "rules": _RULES,
        "fix": _maybe("string"),
        "plan": _or_null(_PLAN),
        "output": _or_null(_OUTPUT),
        "retry": _RETRY,
        "next": _or_null(_NEXT),
        "story": _STORY,
        "error": _ERROR,
    },
    "status",
)
"""The answer of every tool: an operation, or `status: refused` with `error` when no operation came of the call."""

_OPERATION_ID: Final = {
    "type": "string",
    "minLength": 1,
    "maxLength": 64,
    "description": "The operation_id of an earlier answer.",
}


def _helper(
    name: str, title: str, description: str, schema: dict[str, Any], hints: tuple[bool, bool, bool]
) -> dict[str, Any]:
    read_only, destructive, idempotent = hints
    return {
        "name": name,
        "title": title,
        "description": description,
        "inputSchema": schema,
        "outputSchema": OUTPUT_SCHEMA,
        "annotations": _annotations(read_only, destructive, idempotent, open_world=False),
    }


def _annotations(read_only: bool, destructive: bool, idempotent: bool, *, open_world: bool) -> dict[str, bool]:
    return {
        "readOnlyHint": read_only,
        "destructiveHint": destructive,
        "idempotentHint": idempotent,
        "openWorldHint": open_world,
    }


HELPERS: Final = {
    tool["name"]: tool
    for tool in (
        _helper(
            GET_OPERATION,
            "Look at an operation",
            "The current status of one of your operations; waits up to wait_seconds for it to end. Changes nothing.",
            _object({"operation_id": _OPERATION_ID, "wait_seconds": WAIT}, "operation_id"),
            (True, False, True),
        ),
        _helper(
            EXPLAIN,
            "Explain an operation",
            "What happened to one of your operations, why, whether asking again helps, and what to call next. Changes nothing.",
            _object({"operation_id": _OPERATION_ID}, "operation_id"),
            (True, False, True),
        ),
        _helper(
            CANCEL_OPERATION,
            "Cancel an operation",
            "Cancel one of your operations. Once it is being applied this is only noted, and it runs to its end.",
            _object({"operation_id": _OPERATION_ID}, "operation_id"),
            (False, False, True),
        ),
        _helper(
            APPLY_PLAN,
            "Apply a planned operation",
            "Apply what a dry run planned: a new operation, decided and approved anew, for exactly the plan you saw.",
            _object(
                {
                    "operation_id": _OPERATION_ID,
                    "semantic_sha256": {
                        "type": "string",
                        "pattern": "^sha256:[0-9a-f]{64}$",
                        "description": "plan.digests.semantic_sha256 of the planned operation.",
                    },
                    **WHY,
                    "wait_seconds": WAIT,
                },
                "operation_id",
                "semantic_sha256",
                "reason",
            ),
            (False, True, False),
        ),
    )
}
_VALIDATORS: Final = {name: jsonschema_rs.Draft202012Validator(tool["inputSchema"]) for name, tool in HELPERS.items()}


def check_helper_arguments(tool: str, arguments: dict[str, Any]) -> None:
    """A helper tool's arguments against its closed schema. Raises BadInput naming the field, never showing the value."""
    for error in _VALIDATORS[tool].iter_errors(arguments):
        path, message = explain(error)[0]
        raise BadInput(message, field=pointer(path) or "arguments", fix=f"See the input schema of {tool}.")


def tool(action: OfferedAction) -> dict[str, Any]:
    """One action as an MCP tool."""
    read_only = action.effect is Effect.READ
    return {
        "name": action.name,
        "title": action.title,
        "description": action.description,
        "inputSchema": action.tool_schema,
        "outputSchema": OUTPUT_SCHEMA,
        "annotations": _annotations(
            read_only, action.effect is Effect.DESTROY, action.idempotent or read_only, open_world=True
        ),
    }


def tool_list(actions: Iterable[OfferedAction]) -> dict[str, Any]:
    """The answer to tools/list: actions by name, then the helpers; only for this caller's cache."""
    listed = [tool(action) for action in sorted(actions, key=lambda item: item.name)]
    return {
        "tools": [*listed, *HELPERS.values()],
        "ttlMs": LIST_TTL_MS,
        "cacheScope": "private",
        "resultType": "complete",
    }
