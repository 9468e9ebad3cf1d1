"""Typed parameters of a task and the values given for them; a value is data and must never choose what runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lockgate.job.drivers.port import StageRefused

DEFAULT_MAX_LENGTH = 256
_KEYS = {
    "string": {"max_length", "pattern"},
    "integer": {"minimum", "maximum"},
    "boolean": set[str](),
    "enum": {"values"},
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """What a value must be: `kind` string, integer, boolean or enum with its bounds (characters; inclusive numbers)."""

    kind: str
    max_length: int = DEFAULT_MAX_LENGTH
    pattern: re.Pattern[str] | None = None
    minimum: int | None = None
    maximum: int | None = None
    values: tuple[str, ...] = ()

    def text(self, value: Any, field: str) -> str:
        """The value as the text that enters an argument. Raises StageRefused naming `field`."""
        if self.kind == "boolean":
            if not isinstance(value, bool):
                raise StageRefused(f"{field}: must be a boolean")
            return "true" if value else "false"
        if self.kind == "integer":
            return self._integer(value, field)
        if not isinstance(value, str):
            raise StageRefused(f"{field}: must be a string")
        if self.kind == "enum":
            if value not in self.values:
                raise StageRefused(f"{field}: must be one of {', '.join(self.values)}")
            return value
        return self._string(value, field)

    def _integer(self, value: Any, field: str) -> str:
        if type(value) is not int:
            raise StageRefused(f"{field}: must be an integer")
        if (self.minimum is not None and value < self.minimum) or (self.maximum is not None and value > self.maximum):
            raise StageRefused(f"{field}: must lie between {self.minimum} and {self.maximum}")
        return str(value)

    def _string(self, value: str, field: str) -> str:
        if len(value) > self.max_length:
            raise StageRefused(f"{field}: is {len(value)} characters long; at most {self.max_length} are allowed")
        if any(ord(char) < 32 or 127 <= ord(char) < 160 or char in "\u2028\u2029" for char in value):
            raise StageRefused(f"{field}: holds a control character (NUL, newline, escape …)")
        if self.pattern is not None and not self.pattern.fullmatch(value):
            raise StageRefused(f"{field}: does not match {self.pattern.pattern}")
        return value


def read_parameter(declared: Mapping[str, Any], field: str) -> Parameter:
    """A parameter as declared in `runbook.toml`. Raises StageRefused naming `field`."""
    kind = declared.get("type")
    if kind not in _KEYS:
        raise StageRefused(f"{field}.type: must be one of {', '.join(_KEYS)}")
    for key in declared:
        if key not in _KEYS[kind] | {"type", "description"}:
            raise StageRefused(f"{field}.{key}: is not known for type {kind}")
    length = declared.get("max_length", DEFAULT_MAX_LENGTH)
    if type(length) is not int or not 0 < length <= 65_536:
        raise StageRefused(f"{field}.max_length: must be an integer from 1 to 65536")
    for bound in ("minimum", "maximum"):
        if type(declared.get(bound, 0)) is not int:
            raise StageRefused(f"{field}.{bound}: must be an integer")
    values = declared.get("values", [])
    if (
        not isinstance(values, list)
        or not all(isinstance(item, str) for item in values)
        or (kind == "enum" and not values)
    ):
        raise StageRefused(f"{field}.values: must be a list of strings, at least one")
    return Parameter(
        kind=kind,
        max_length=length,
        pattern=_pattern(declared.get("pattern"), f"{field}.pattern"),
        minimum=declared.get("minimum"),
        maximum=declared.get("maximum"),
        values=tuple(values),
    )


def _pattern(pattern: Any, field: str) -> re.Pattern[str] | None:
    if pattern is None:
        return None
    if not isinstance(pattern, str):
        raise StageRefused(f"{field}: must be a string")
    try:
        return re.compile(pattern)
    except re.error as error:
        raise StageRefused(f"{field}: is no regular expression: {error}") from None


def render_values(parameters: Mapping[str, Parameter], given: Mapping[str, Any]) -> dict[str, str]:
    """Every declared parameter as text; none missing, none unknown. Raises StageRefused naming `variables.NAME`."""
    for name in given:
        if name not in parameters:
            raise StageRefused(f"variables.{name[:80]}: is not a parameter of the task")
    values: dict[str, str] = {}
    for name, parameter in parameters.items():
        if name not in given:
            raise StageRefused(f"variables.{name}: is missing")
        values[name] = parameter.text(given[name], f"variables.{name}")
    return values
