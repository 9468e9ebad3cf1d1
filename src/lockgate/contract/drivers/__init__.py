"""The drivers' declarations, as data beside this module: what each needs, promises and cannot show; it must not run or import a driver."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

from lockgate.contract.codec import from_document
from lockgate.contract.intent import Stage
from lockgate.contract.plan import Fidelity


@dataclass(frozen=True, slots=True)
class ToolNeed:
    """A tool the driver runs: `found` says where the runner finds it, in words; `required` is false when sources bring their own commands.

    `program`: the file name of a tool that is one program, which the runner's `tools` list by path; else it is part of the job root. `setting`: the
    target setting whose value names the tool, where a driver runs one of several.
    """

    name: str
    found: str
    required: bool
    program: str | None
    setting: str | None


@dataclass(frozen=True, slots=True)
class DriverDeclaration:
    """ARCHITECTURE §5: one half of a driver. `settings_schema` is the closed JSON Schema (draft 2020-12) of a target's settings; `entry` says
    what an action's entry means; `cannot_show` are sentences for approvers; `egress` are the hosts it needs by itself."""

    name: str
    title: str
    fidelity: Fidelity
    stages: tuple[Stage, ...]
    entry: str
    variables: str
    settings_schema: dict[str, Any]
    egress: tuple[str, ...]
    cannot_show: tuple[str, ...]
    tools: tuple[ToolNeed, ...]


class UnknownDriver(LookupError):
    """No driver of that name is declared; the text lists those that are."""


@lru_cache(maxsize=1)
def declarations() -> dict[str, DriverDeclaration]:
    """Every declared driver by name. The files are part of the package: a bad one is a bug, and raises DocumentError."""
    found: dict[str, DriverDeclaration] = {}
    for item in sorted(resources.files(__name__).iterdir(), key=lambda item: item.name):
        if item.name.endswith(".json"):
            declared = from_document(DriverDeclaration, json.loads(item.read_text("utf-8")), item.name)
            found[declared.name] = declared
    return found


def declaration(name: str) -> DriverDeclaration:
    """The declaration of that name. Raises UnknownDriver."""
    known = declarations()
    if name not in known:
        raise UnknownDriver(f"driver {name[:80]!r} is not known; known are {', '.join(known)}")
    return known[name]
