"""Closes the JSON Schema of an action's arguments, or says where it is open; it must not leave any value without a bound.

The keywords allowed stand in the published `contract/schemas/catalog-v1.json` (`ArgumentSchema`); here are the rules that span keywords.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import jsonschema_rs

from lockgate.contract.canonical import canonical

RESERVED: Final = frozenset({"target", "reason", "idempotency_key", "dry_run", "wait_seconds"})
SENSITIVE_PREFIX: Final = "secret://"
SENSITIVE_PATTERN: Final = r"^secret://[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+$"
"""A reference to a secret store: `secret://prefix/name`; no segment begins with a point, so none leads upwards."""

MAX_SENSITIVE: Final = 256
MAX_SCHEMA_NODES = 2_000
MAX_SCHEMA_DEPTH = 12
PATTERN_OPTIONS: Final = jsonschema_rs.RegexOptions(size_limit=1 << 20, dfa_size_limit=1 << 20)
"""The linear-time engine with bounded automata: a pattern that would need more is refused at load, and none can be made slow by its input."""

Path = tuple[str | int, ...]
_ARRAY = "array"
_LITERALS = ("enum", "const", "default", "examples", "anyOf", "oneOf", "pattern")


@dataclass(slots=True)
class Closing:
    """The outcome of closing one schema: `schema` without $ref and $defs, names of sensitive arguments, faults as (path, message)."""

    schema: dict[str, Any] = field(default_factory=dict)
    sensitive: tuple[str, ...] = ()
    faults: list[tuple[Path, str]] = field(default_factory=list)


def close_arguments(schema: dict[str, Any]) -> Closing:
    """Inline definitions, force `additionalProperties: false` at every object level, and check every bound. Never raises."""
    walk = _Walk(schema.get("$defs", {}))
    closed = walk.close(schema, (), ())
    result = Closing(closed, (), walk.faults)
    if closed.get("type") != "object":
        result.faults.append((("type",) if "type" in schema else (), "the arguments must be of type object"))
    properties: dict[str, Any] = closed.get("properties", {})
    result.faults.extend(
        (("properties", name), "is a reserved name; choose another") for name in properties if name in RESERVED
    )
    result.sensitive = tuple(sorted(name for name, item in properties.items() if item.get("x-sensitive") is True))
    if not result.faults:
        result.faults.extend(_compile_faults(closed))
    return result


def compile_schema(schema: dict[str, Any]) -> jsonschema_rs.Draft202012Validator:
    """A validator that fetches nothing and matches patterns in linear time. Raises ValueError (jsonschema-rs's ValidationError)."""
    return jsonschema_rs.Draft202012Validator(schema, pattern_options=PATTERN_OPTIONS, offline=True)


def _compile_faults(schema: dict[str, Any]) -> list[tuple[Path, str]]:
    try:
        compile_schema(schema)
    except jsonschema_rs.ValidationError as error:
        path = tuple(error.instance_path)
        if path and path[-1] == "pattern":
            return [
                (
                    path,
                    "is no regular expression of the linear-time engine (no look-around, no back-references, bounded size)",
                )
            ]
        return [(path, "is not valid in JSON Schema draft 2020-12")]
    return []


class _Walk:
    """One pass over a schema; counts what it visits so that nested definitions cannot multiply without end."""

    def __init__(self, definitions: Any) -> None:
        self.definitions: dict[str, Any] = definitions if isinstance(definitions, dict) else {}
        self.faults: list[tuple[Path, str]] = []
        self.nodes = 0

    def close(self, schema: dict[str, Any], path: Path, inside: tuple[str, ...]) -> dict[str, Any]:
        self.nodes += 1
        if self.nodes == MAX_SCHEMA_NODES + 1:
            self.faults.append(((), f"holds more than {MAX_SCHEMA_NODES} schemas once its definitions are written out"))
        if self.nodes > MAX_SCHEMA_NODES:
            return {}
        if len(path) > 2 * MAX_SCHEMA_DEPTH:
            self.faults.append((path, f"nested deeper than {MAX_SCHEMA_DEPTH} levels"))
            return {}
        if "$ref" in schema:
            return self._inline(schema, path, inside)
        if path and "$defs" in schema:
            self.faults.append(((*path, "$defs"), "definitions may stand only at the top of the arguments"))
        closed = {key: value for key, value in schema.items() if key != "$defs"}
        self._check(closed, path)
        if "properties" in schema:
            closed["properties"] = {
                name: self.close(item, (*path, "properties", name), inside)
                for name, item in schema["properties"].items()
            }
        if "items" in schema:
            closed["items"] = self.close(schema["items"], (*path, "items"), inside)
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                closed[keyword] = [
                    self.close(arm, (*path, keyword, index), inside) for index, arm in enumerate(schema[keyword])
                ]
        if "object" in _types(schema):
            closed.setdefault("properties", {})
            closed["additionalProperties"] = False
        return closed

    def _inline(self, schema: dict[str, Any], path: Path, inside: tuple[str, ...]) -> dict[str, Any]:
        name = schema["$ref"].rpartition("/")[2]
        extra = set(schema) - {"$ref", "title", "description"} - ({"$defs"} if not path else set())
        if extra:
            self.faults.append((path, f"$ref stands beside {', '.join(sorted(extra))}; put them into the definition"))
        if name in inside:
            self.faults.append(((*path, "$ref"), "the definition contains itself; a bounded schema cannot"))
            return {}
        if name not in self.definitions:
            self.faults.append(((*path, "$ref"), f"there is no $defs/{name} in this action's arguments"))
            return {}
        closed = self.close(self.definitions[name], path, (*inside, name))
        return closed | {key: schema[key] for key in ("title", "description") if key in schema}

    def _check(self, schema: dict[str, Any], path: Path) -> None:
        types = _types(schema)
        finite = "enum" in schema or "const" in schema
        if not types and not finite and "anyOf" not in schema and "oneOf" not in schema:
            self.faults.append((path, "accepts anything; give it a type, an enum, a const, or anyOf"))
        if "string" in types and not finite and "maxLength" not in schema:
            self.faults.append((path, "a string needs maxLength (or enum, or const), so that its size is bounded"))
        if _ARRAY in types and not finite:
            if "maxItems" not in schema:
                self.faults.append((path, "an array needs maxItems, so that its size is bounded"))
            if "items" not in schema:
                self.faults.append((path, "an array needs items, the schema of each item"))
        if ("properties" in schema or "required" in schema) and "object" not in types:
            self.faults.append((path, "has properties but is not of type object"))
        if "items" in schema and _ARRAY not in types:
            self.faults.append((path, "has items but is not of type array"))
        self.faults.extend(
            ((*path, "required", index), "is required but is not one of the properties")
            for index, name in enumerate(schema.get("required", ()))
            if name not in schema.get("properties", {})
        )
        self._check_sensitive(schema, path)

    def _check_sensitive(self, schema: dict[str, Any], path: Path) -> None:
        if "x-sensitive" not in schema:
            return
        place = (*path, "x-sensitive")
        if len(path) != 2 or path[0] != "properties":
            self.faults.append(
                (place, "may stand only on a top-level argument; pass a nested secret as an argument of its own")
            )
        elif schema["x-sensitive"] is True:
            if schema.get("type") != "string":
                self.faults.append(
                    (place, "a sensitive argument must be of type string: a reference to a secret store")
                )
            self.faults.extend(
                ((*path, keyword), "may not stand on a sensitive argument, whose form is always secret://prefix/name")
                for keyword in _LITERALS
                if keyword in schema
            )


def _types(schema: dict[str, Any]) -> frozenset[str]:
    kind = schema.get("type", ())
    return frozenset([kind] if isinstance(kind, str) else kind)


def published(schema: dict[str, Any]) -> dict[str, Any]:
    """The closed schema as agents see it and as it is enforced: a sensitive argument carries the form of its reference."""
    properties = {
        name: {**item, "pattern": SENSITIVE_PATTERN, "maxLength": min(item["maxLength"], MAX_SENSITIVE)}
        if item.get("x-sensitive")
        else item
        for name, item in schema["properties"].items()
    }
    return {**schema, "properties": properties}


def canonical_size(value: Any) -> int:
    """Bytes of the canonical form. Raises CanonicalError."""
    return len(canonical(value))
