"""Holds the variables inside a plan file against what was asked for: the engine applies on those, and code that ran while planning may have swapped them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

from lockgate.contract.strictjson import StrictJSONError, loads
from lockgate.job.drivers.opentofu.left import contents
from lockgate.job.drivers.port import StageRefused

_MAX_BYTES: Final = 8 << 20
_ALWAYS: Final = ("terraform.tfvars", "terraform.tfvars.json")
_AUTO: Final = (".auto.tfvars", ".auto.tfvars.json")
_ASSIGNED: Final = re.compile(r"^[ \t]*([A-Za-z_][A-Za-z0-9_-]*)[ \t]*=", re.MULTILINE)


def check_variables(root: Path, given: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """The plan's variables (`found`) are those given, and besides them only ones that the source's own tfvars files set. Raises StageRefused.

    What such a file of HCL sets is held by name alone: its value is in the sealed source, but no reader of ours evaluates HCL.
    """
    for name in sorted({*given, *found}):
        if name in given:
            agrees = name in found and same(given[name], found[name])
        else:
            agrees = _source_sets(root, name, found[name])
        if not agrees:
            raise StageRefused(
                f"plan: its variable {name[:100]!a} is not what was asked for; plan again, and find out who changed it"
            )


def same(given: Any, found: Any) -> bool:
    """Whether a value of JSON is the one an engine put into its plan; numbers by what they are, as the engines write some as text."""
    if isinstance(given, Mapping):
        return isinstance(found, dict) and given.keys() == found.keys() and all(same(given[k], found[k]) for k in given)
    if isinstance(given, list | tuple):
        return (
            isinstance(found, list)
            and len(given) == len(found)
            and all(same(one, other) for one, other in zip(given, found, strict=True))
        )
    if isinstance(given, int | float) and not isinstance(given, bool):
        if isinstance(found, bool) or not isinstance(found, int | float | str):
            return False
        try:
            return Decimal(repr(given)) == Decimal(found)
        except InvalidOperation:
            return False
    return type(given) is type(found) and bool(given == found)


def _source_sets(root: Path, name: str, value: Any) -> bool:
    for path in sorted(root.iterdir()):
        if path.name not in _ALWAYS and not path.name.endswith(_AUTO):
            continue
        data = contents(path, _MAX_BYTES, f"entry: {path.name[:100]}") or b""
        if not path.name.endswith(".json"):
            if name in _ASSIGNED.findall(data.decode("utf-8", "replace")):
                return True
            continue
        try:
            document = loads(data, max_bytes=_MAX_BYTES)
        except StrictJSONError as error:
            raise StageRefused(f"entry: {path.name[:100]} cannot be read: {error}") from None
        if isinstance(document, dict) and name in document and same(document[name], value):
            return True
    return False
