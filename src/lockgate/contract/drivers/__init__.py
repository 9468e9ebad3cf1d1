"""The drivers' declarations, as data beside this module: what each needs, promises and cannot show; it must not run or import a driver."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

from lockgate.contract.codec import from_document
from lockgate.contract.intent import Stage
from lockgate.contract.plan import Fidelity

KEPT_BY_RUNNER = "runner"


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
    what an action's entry means; `cannot_show` are sentences for approvers; `egress` are the hosts it needs by itself;
    `state_setting` names the setting by which a target may leave its state to the runner (`runner`)."""

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
    state_setting: str | None

    @property
    def derives(self) -> bool:
        """Whether what a plan of this driver means is derived from a plan file (exact fidelity), and not taken from the job that planned."""
        return Stage.DERIVE in self.stages

    def keeps_state(self, settings: Mapping[str, Any]) -> bool:
        """Whether a target with these settings leaves its state to the runner."""
        return self.state_setting is not None and settings.get(self.state_setting) == KEPT_BY_RUNNER

    def tool_for(self, settings: Mapping[str, Any]) -> ToolNeed | None:
        """The one tool a target with these settings needs; None when its sources bring their own commands. Raises UnknownTool."""
        needs = [need for need in self.tools if need.required]
        chosen = [need for need in needs if need.setting is None or settings.get(need.setting) == need.name]
        if len(chosen) == 1 or not needs:
            return chosen[0] if chosen else None
        setting = needs[0].setting or ""
        raise UnknownTool(f"settings.{setting}: must be one of {', '.join(need.name for need in needs)}")


class UnknownTool(LookupError):
    """A target's settings name no tool of its driver; the text names the setting."""


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
