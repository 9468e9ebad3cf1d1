"""Markdown tables and JSON Schemas as tables; pure text, it must not know what the text is about."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

MAX_DEPTH = 8


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; cells are escaped."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cell(text) for text in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def cell(text: str) -> str:
    """Text for a table's cell."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def schema_table(schema: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    """Every field of an object schema, nested ones by their dotted name."""
    return table(("field", "type", "required", "meaning"), _rows(schema, root, "", ()))


def _rows(
    schema: Mapping[str, Any], root: Mapping[str, Any], prefix: str, seen: tuple[str, ...]
) -> Iterator[tuple[str, str, str, str]]:
    schema, seen = _resolved(schema, root, seen)
    if len(seen) > MAX_DEPTH:
        return
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        path = f"{prefix}{name}"
        inner, trail = _resolved(field, root, seen)
        doc = str(field.get("description") or inner.get("description") or "")
        yield f"`{path}`", type_name(inner), "yes" if name in required else "", doc
        if trail.count(trail[-1] if trail else "") > 1:
            continue
        for suffix, below in _below(inner):
            yield from _rows(below, root, f"{path}{suffix}.", trail)


def _below(schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if "properties" in schema:
        yield "", schema
    if isinstance(schema.get("items"), Mapping):
        yield "[]", schema["items"]
    if isinstance(schema.get("additionalProperties"), Mapping):
        yield ".NAME", schema["additionalProperties"]
    for arm in schema.get("anyOf", ()):
        if "properties" in arm or "$ref" in arm:
            yield "", arm


def _resolved(
    schema: Mapping[str, Any], root: Mapping[str, Any], seen: tuple[str, ...]
) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    while "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        found = root.get("$defs", root.get("components", {}).get("schemas", {}))[name]
        schema, seen = {**found, **{key: value for key, value in schema.items() if key != "$ref"}}, (*seen, name)
    return schema, seen


def type_name(schema: Mapping[str, Any]) -> str:
    """A schema's type in words."""
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return ", ".join(json.dumps(item) for item in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(type_name(arm) if "$ref" not in arm else "object" for arm in schema["anyOf"])
    kind = schema.get("type", "any value")
    name = " or ".join(kind) if isinstance(kind, list) else str(kind)
    bounds = [f"{word} {schema[key]}" for key, word in _BOUNDS.items() if key in schema]
    return name + (f" ({', '.join(bounds)})" if bounds else "")


_BOUNDS = {
    "minimum": "from",
    "maximum": "to",
    "minLength": "length from",
    "maxLength": "length to",
    "pattern": "like",
    "default": "default",
}
