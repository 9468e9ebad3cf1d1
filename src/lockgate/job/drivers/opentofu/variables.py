"""Turns arguments into a variables file of plain JSON; it must not let a value become an expression, or a name anything but a declared variable."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from lockgate.job.drivers.port import StageContext, StageRefused

MAX_DEPTH = 32
NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_-]{0,62}", re.ASCII)


def given_variables(ctx: StageContext) -> dict[str, Any]:
    """The target's variables and the agent's arguments. Raises StageRefused naming the variable: fixed by the target, misnamed, or a value that the
    engine would not keep as it is."""
    fixed = ctx.inputs.settings.get("variables", {})
    if not isinstance(fixed, dict):
        raise StageRefused("settings.variables: must be an object")
    for name in ctx.inputs.variables:
        if name in fixed:
            raise StageRefused(
                f"variables.{name}: the target's settings fix this variable; an argument cannot change it"
            )
    for values, field in ((fixed, "settings.variables"), (ctx.inputs.variables, "variables")):
        for name, value in values.items():
            if not NAME.fullmatch(name):
                raise StageRefused(f"{field}.{ascii(name)[1:81]}: a variable's name is letters, digits, _ and -")
            _check(value, f"{field}.{name}", 0)
    return {**fixed, **ctx.inputs.variables}


def _check(value: Any, field: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise StageRefused(f"{field}: nested deeper than {MAX_DEPTH}")
    if isinstance(value, str):
        if not value.isascii() and not unicodedata.is_normalized("NFC", value):
            raise StageRefused(
                f"{field}: the text is not in Unicode normalisation form C, and the engine would change it; send it in that form"
            )
    elif isinstance(value, Mapping):
        for key, item in value.items():
            _check(key, field, depth)
            _check(item, field, depth + 1)
    elif isinstance(value, list | tuple):
        for item in value:
            _check(item, field, depth + 1)


def variables_file(variables: Mapping[str, Any]) -> str:
    """The text of a `.tfvars.json` file, ASCII only. In this one kind of file the engines take a string of JSON as it is: `${…}` is no template there."""
    return json.dumps(variables, ensure_ascii=True, allow_nan=False, sort_keys=True)
