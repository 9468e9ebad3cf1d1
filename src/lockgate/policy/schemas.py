"""JSON Schemas of policy documents, compiled once; it judges shapes, never meaning."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import jsonschema_rs


class DocumentRefused(ValueError):
    """A document does not match its schema; names the first field at fault, never its value."""

    def __init__(self, field: str, problem: str) -> None:
        self.field, self.problem = field, problem
        super().__init__(f"{field}: {problem}")


def compiled(name: str, package: str = "lockgate.contract") -> jsonschema_rs.Draft202012Validator:
    """The validator of the schema `name` in the package's `schemas` folder."""
    text = files(package).joinpath("schemas", name).read_text(encoding="utf-8")
    return jsonschema_rs.Draft202012Validator(json.loads(text))


def require_valid(validator: jsonschema_rs.Draft202012Validator, document: Any) -> None:
    """Raises DocumentRefused unless the document matches."""
    try:
        if validator.is_valid(document):
            return
        error = next(iter(validator.iter_errors(document)))
    except ValueError as refused:  # a Python value that JSON does not have, or depth beyond the library's bound
        raise DocumentRefused("(document)", f"is no JSON document: {type(refused).__name__}") from None
    raise DocumentRefused(dotted(error.instance_path), describe(error))


def dotted(path: list[str | int]) -> str:
    """`["a", 0, "b"]` as `a[0].b`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".") or "(document)"


def describe(error: jsonschema_rs.ValidationError) -> str:
    """What is wrong, without quoting the value: it may be large, or not ours to repeat."""
    kind: Mapping[str, Any] = error.kind.as_dict()
    match error.kind.name:
        case "additionalProperties":
            return f"has an unknown field: {', '.join(sorted(kind['unexpected']))[:200]}"
        case "required":
            return f"is missing {kind['property']!r}"
        case "enum":
            return f"must be one of {json.dumps(kind['options'])}"
        case "const":
            return f"must be {json.dumps(kind['expected_value'])}"
        case name:
            return f"does not match the schema's {name!r}: {json.dumps(_expected(kind), default=str)[:200]}"


def _expected(kind: Mapping[str, Any]) -> Any:
    return {key: value for key, value in kind.items() if key in {"type", "types", "limit", "pattern"}} or "refused"
