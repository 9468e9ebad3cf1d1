"""Small files that would become large or slow: definitions that multiply, patterns that backtrack, aliases that unfold."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.invariants.parties import CATALOG, catalog

from lockgate.gateway.catalog.errors import CatalogErrors

REPLICAS = "properties: {replicas: {type: integer, minimum: 0, maximum: 20}}"


def with_arguments(schema: dict[str, Any]) -> str:
    """The catalog whose first action has these properties and definitions beside its own."""
    properties = {"replicas": {"type": "integer", "minimum": 0, "maximum": 20}, **schema["properties"]}
    definitions = f", $defs: {json.dumps(schema['$defs'])}" if "$defs" in schema else ""
    assert REPLICAS in CATALOG
    text = CATALOG.replace("    type: object\n    required: [replicas]\n    " + REPLICAS, "    {type: object, required: [replicas], properties: "
                           + json.dumps(properties) + definitions + "}", 1)  # fmt: skip
    assert text != CATALOG
    fed = ", ".join(f"{name}: {name}" for name in properties)
    return text.replace("variables: {replicas: replicas}", f"variables: {{{fed}}}", 1)


def test_a_schema_that_multiplies_is_refused_at_load() -> None:
    """Four levels of ten references each: ten lines, ten thousand schemas."""
    definitions: dict[str, Any] = {"d0": {"type": "boolean"}}
    for level in range(1, 5):
        inner = {f"p{index}": {"$ref": f"#/$defs/d{level - 1}"} for index in range(10)}
        definitions[f"d{level}"] = {"type": "object", "properties": inner}
    text = with_arguments({"properties": {"bomb": {"$ref": "#/$defs/d4"}}, "$defs": definitions})
    with pytest.raises(CatalogErrors, match="more than 2000 schemas"):
        catalog(text)


def test_a_schema_that_contains_itself_is_refused_at_load() -> None:
    definitions = {"d": {"type": "object", "properties": {"again": {"$ref": "#/$defs/d"}}}}
    with pytest.raises(CatalogErrors, match="contains itself"):
        catalog(with_arguments({"properties": {"bomb": {"$ref": "#/$defs/d"}}, "$defs": definitions}))


@pytest.mark.parametrize("pattern", ["^(?=(a+)+$)a", r"^(a*)\1$", "(?<!a)b", "^(((a{0,500}){0,500}){0,500})$"])
def test_a_pattern_that_may_be_costly_is_refused_at_load(pattern: str) -> None:
    text = with_arguments({"properties": {"name": {"type": "string", "maxLength": 60000, "pattern": pattern}}})
    with pytest.raises(CatalogErrors, match="linear-time engine"):
        catalog(text)


@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(a|a)*$", "^(a|aa)+$", "^(.*a){20}$"])
def test_a_pattern_that_is_costly_elsewhere_costs_nothing_here(pattern: str) -> None:
    """These double their cost with each letter in engines that backtrack; 30,000 letters would never end."""
    text = with_arguments({"properties": {"name": {"type": "string", "maxLength": 60000, "pattern": pattern}}})
    action = catalog(text).actions["set_replicas"]
    call = {"target": "web-dev", "replicas": 3, "reason": "scale for the launch", "name": "a" * 30_000 + "!"}
    assert [fault.field for fault in action.faults(call)] != []


def test_aliases_do_not_unfold() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, 10)]
    with pytest.raises(CatalogErrors, match="anchor"):
        catalog("\n".join(lines))
