"""Operations and refusals as MCP tool results; it must not ask the core anything."""

from __future__ import annotations

from typing import Any

from lockgate.gateway.api.tools import REFUSED
from lockgate.gateway.errors import Refusal
from lockgate.gateway.operations.advice import GET_OPERATION
from lockgate.gateway.operations.explanation import Explanation
from lockgate.gateway.operations.model import Operation
from lockgate.gateway.operations.views import agent_view, is_error, rules_told, story_lines, summary_line


def operation_result(operation: Operation) -> dict[str, Any]:
    """The tool result of an operation; an operation that ended without what was asked is an error result."""
    return {
        "content": [{"type": "text", "text": summary_line(operation)}],
        "structuredContent": agent_view(operation),
        "isError": is_error(operation),
        "resultType": "complete",
    }


def explanation_result(explanation: Explanation) -> dict[str, Any]:
    """The tool result of `lockgate_explain`: the operation with its story; explaining a denial is no error."""
    operation = explanation.operation
    return {
        "content": [{"type": "text", "text": f"{summary_line(operation)}\n{story_lines(explanation)}"}],
        "structuredContent": {
            **agent_view(operation),
            "rules": rules_told(explanation),
            "story": explanation.story(),
        },
        "isError": False,
        "resultType": "complete",
    }


def refused_result(refusal: Refusal, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The tool result of a call that no operation came of; `tool` and `arguments` are what was called."""
    error = refusal.document()
    where = f"{refusal.field}: " if refusal.field else ""
    retry, following = after_refusal(refusal, tool, arguments)
    text = f"Refused ({refusal.code}). {where}{refusal.message}" + (f" Fix: {refusal.fix}" if refusal.fix else "")
    return {
        "content": [{"type": "text", "text": f"{text}\nRetry: {'yes' if retry['helps'] else 'no'}. {retry['how']}"}],
        "structuredContent": {
            "status": REFUSED,
            "message": refusal.message,
            "error": error,
            "retry": retry,
            "next": following,
        },
        "isError": True,
        "resultType": "complete",
    }


def after_refusal(
    refusal: Refusal, tool: str, arguments: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """`retry` and `next` of a refusal: the very same call after a while, the operation that is there already, or a corrected call."""
    if refusal.retry_after is not None:
        how = "Nothing was done unless the message says so. Make the same call again, unchanged."
        again = {"tool": tool, "arguments": arguments, "after_seconds": refusal.retry_after}
        return {"helps": True, "after_seconds": refusal.retry_after, "how": how}, again
    if refusal.operation is not None:
        look = {"tool": GET_OPERATION, "arguments": {"operation_id": refusal.operation}, "after_seconds": 0}
        return {"helps": False, "after_seconds": None, "how": "An operation is there already; look at it."}, look
    how = "The same call is refused again." + (" Correct it as `error.fix` says." if refusal.fix else "")
    return {"helps": False, "after_seconds": None, "how": how}, None
