"""Writes the Rego that joins brought rules to the library: the same entries give the same text. It evaluates nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from lockgate.policy.brought import segments

GLUE_NAME: Final = "lockgate/glue.rego"
"""The file of the library's bundle that this text stands for."""

_HEAD: Final = """# Written by `lockgate policy build` from `bring` in the policy data; do not edit.
package lockgate.glue

import data.lockgate.brought
"""

_NONE: Final = """
values := set()
"""

_ENTRY: Final = """
values contains {{"name": {name}, "path": {path}, "input": {input}, "value": value}} if {{
	brought.asked[{name}]
	value := {rule} with input as {document}
}}
"""


def glue(bring: Mapping[str, Mapping[str, Any]]) -> str:
    """The module for derived `bring` (name → entry). A path cannot be evaluated by name in Wasm, so each is written out.

    Every name and path has passed the data's schema; they are quoted all the same, so that no text can become code.
    """
    parts = [_HEAD] if bring else [_HEAD, _NONE]
    for name, entry in sorted(bring.items()):
        rule = "data" + "".join(f"[{json.dumps(part)}]" for part in segments(entry["path"]))
        parts.append(
            _ENTRY.format(
                name=json.dumps(name),
                path=json.dumps(entry["path"]),
                input=json.dumps(entry["input"]),
                rule=rule,
                document="input.plan" if entry["input"] == "plan" else "input",
            )
        )
    return "".join(parts)


def is_of(modules: Mapping[str, str], bring: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether modules hold the glue of exactly these entries; where none is brought, any will do. Raises nothing for entries of another form: False."""
    try:
        return not bring or modules.get(GLUE_NAME) == glue(bring)
    except (AttributeError, KeyError, TypeError):
        return False
