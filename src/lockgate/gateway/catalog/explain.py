"""Says why a value breaks a JSON Schema, in words that never hold the value: it may be long, hostile, or a secret."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs

MAX_OPTIONS = 200

_WITH_LIMIT = {
    "minLength": "must be at least {} characters long",
    "maxLength": "must be at most {} characters long",
    "minItems": "must have at least {} items",
    "maxItems": "must have at most {} items",
    "minProperties": "must have at least {} properties",
    "maxProperties": "must have at most {} properties",
    "minimum": "must be at least {}",
    "maximum": "must be at most {}",
    "exclusiveMinimum": "must be greater than {}",
    "exclusiveMaximum": "must be less than {}",
}


def explain(error: jsonschema_rs.ValidationError) -> list[tuple[tuple[str | int, ...], str]]:
    """The faults (path, message) behind one validation error: one for each unexpected property, else one."""
    path = tuple(error.instance_path)
    kind = error.kind
    detail: dict[str, Any] = kind.as_dict()
    if kind.name == "additionalProperties":
        return [((*path, name), "is not known; remove it") for name in sorted(detail["unexpected"])]
    if kind.name == "required":
        return [((*path, str(detail["property"])), "is missing")]
    if kind.name == "propertyNames":
        return [(path, "has a name of a form that is not allowed")]
    return [(path, _message(kind.name, detail))]


def _message(name: str, detail: dict[str, Any]) -> str:
    if name in _WITH_LIMIT:
        return _WITH_LIMIT[name].format(detail["limit"])
    if name == "type":
        return "must be of type " + " or ".join(sorted(detail["types"]))
    if name == "enum":
        return "must be one of " + _short(detail["options"])
    if name == "const":
        return "must be " + _short(detail["expected_value"])
    if name == "pattern":
        return f"must match {_short(detail['pattern'])}"
    if name == "multipleOf":
        return f"must be a multiple of {detail['multiple_of']}"
    return _FIXED.get(name, f"breaks the rule {name!r} of its schema")


_FIXED = {
    "uniqueItems": "must not hold an item twice",
    "anyOf": "has none of the forms that are allowed",
    "oneOf": "must have exactly one of the forms that are allowed",
    "not": "has a form that is reserved",
    "falseSchema": "is not allowed",
}


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_OPTIONS else text[:MAX_OPTIONS] + "…"
