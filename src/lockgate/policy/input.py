"""Builds, checks and encodes policy input v1; it looks nothing up and decides nothing."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

import jsonschema_rs
import orjson

from lockgate.contract.decision import Question
from lockgate.policy.schemas import DocumentRefused, compiled, require_valid

INPUT_VERSION: Final = 1
MAX_DEPTH: Final = 64


def build_input(
    *,
    question: Question,
    tenant: str,
    subject: Mapping[str, Any],
    action: Mapping[str, Any] | None,
    target: Mapping[str, Any] | None,
    arguments: Mapping[str, Any],
    reason: str | None,
    plan: Mapping[str, Any] | None,
    approvals: Sequence[Mapping[str, Any]],
    context: Mapping[str, Any],
) -> dict[str, Any]:
    """Policy input v1 (ARCHITECTURE §7; fields in contract/schemas/policy-input-v1.json). Times are RFC 3339 in UTC.

    `subject` is who asks *this* question (for `plan` and `apply` the operation's requester, for `approve` the voter);
    `context.requester` is who asked for the operation (`approve`, `view`, `cancel`, `resolve`). The shape is checked
    when the engine is asked; nothing is copied.
    """
    return {
        "version": INPUT_VERSION,
        "question": question.value,
        "tenant": tenant,
        "subject": subject,
        "action": action,
        "target": target,
        "arguments": arguments,
        "reason": reason,
        "plan": plan,
        "approvals": approvals,
        "context": context,
    }


def validate_input(document: Mapping[str, Any]) -> None:
    """Raises DocumentRefused, naming the field, unless the document is policy input v1."""
    require_finite(document)
    require_shape(document)


def require_shape(document: Mapping[str, Any]) -> None:
    """The same for what is JSON already."""
    require_valid(_schema(), document)


def require_finite(document: Mapping[str, Any]) -> None:
    """Raises DocumentRefused for an argument that is no finite number, or nested too deeply: as JSON it would be another document."""
    _require_finite(document.get("arguments"), "arguments", MAX_DEPTH)


def encode_input(document: Mapping[str, Any]) -> bytes:
    """The bytes an engine evaluates: compact JSON, keys sorted. Raises DocumentRefused for what JSON cannot say."""
    try:
        return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as error:
        raise DocumentRefused("(document)", f"is no JSON document: {error}") from None


def input_sha256(encoded: bytes) -> str:
    """The digest that stands in a decision: over exactly the bytes that were evaluated."""
    return "sha256:" + hashlib.sha256(encoded).hexdigest()


@cache
def _schema() -> jsonschema_rs.Draft202012Validator:
    return compiled("policy-input-v1.json")


def _require_finite(value: Any, path: str, depth: int) -> None:
    """JSON has no NaN; the encoder would turn it into null and policy would see another document."""
    if depth < 0:
        raise DocumentRefused(path[:200], f"is nested deeper than {MAX_DEPTH}")
    if isinstance(value, float) and not math.isfinite(value):
        raise DocumentRefused(path[:200], "is no finite number")
    if isinstance(value, Mapping):
        for key, item in value.items():
            _require_finite(item, f"{path}.{key}", depth - 1)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _require_finite(item, f"{path}[{index}]", depth - 1)
