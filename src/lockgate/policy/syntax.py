"""Reads one module of Rego by `opa parse`: which version it is written in, which rules it defines and what it imports. It evaluates nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lockgate.policy.opa import OpaFailed, run_opa
from lockgate.policy.port import PolicyLoadError

RulePath = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """Where a rule is first defined, and whether it takes arguments."""

    file: str
    line: int
    function: bool


@dataclass(frozen=True, slots=True)
class Import:
    """`import PATH as NAME`; where no name is given it is the last part of the path."""

    name: str
    path: RulePath
    line: int


@dataclass(frozen=True, slots=True)
class Syntax:
    """One module: the Rego version (0 or 1) it is written in, its package and the line of it, its rules by their whole path below `data`, its imports."""

    rego_version: int
    package: RulePath
    package_line: int
    rules: Mapping[RulePath, Rule]
    imports: tuple[Import, ...]


def read_syntax(path: Path, opa: Path) -> Syntax:
    """Rego v1 where it reads as that, else v0 as before OPA 1.0. Raises PolicyLoadError with file and line, OpaFailed."""
    version, tree = _parsed(path, opa)
    package = tuple(part["value"] for part in tree["package"]["path"][1:])
    rules: dict[RulePath, Rule] = {}
    for rule in tree.get("rules", ()):
        known = Rule(str(path), rule["location"]["row"], "args" in rule["head"])
        rules.setdefault((*package, *_ground(rule["head"]["ref"])), known)
    imports = tuple(_import(item) for item in tree.get("imports", ()))
    return Syntax(version, package, tree["package"]["location"]["row"], rules, imports)


def _ground(ref: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The constant beginning of a rule's reference: of `deny[msg]` and `deny contains msg` it is `deny`."""
    yield ref[0]["value"]
    for part in ref[1:]:
        if part["type"] != "string":
            return
        yield part["value"]


def _import(item: Mapping[str, Any]) -> Import:
    path = tuple(part["value"] for part in item["path"]["value"])
    return Import(item.get("alias") or path[-1], path, item["location"]["row"])


def _parsed(path: Path, opa: Path) -> tuple[int, dict[str, Any]]:
    faults: list[dict[str, Any]] = []
    for version, more in ((1, ()), (0, ("--v0-compatible",))):
        arguments = ["parse", "--format", "json", "--json-include", "locations,-comments", *more, path.name]
        try:
            tree: dict[str, Any] = json.loads(run_opa(opa, arguments, folder=path.parent))
        except OpaFailed as failed:
            faults = faults or _faults(failed)
        else:
            return version, tree
    where = faults[0].get("location", {})
    problem = f"is Rego neither of v1 nor of v0: {faults[0].get('message', '')[:300]}"
    raise PolicyLoadError(str(path), problem, line=where.get("row") or 1)


def _faults(failed: OpaFailed) -> list[dict[str, Any]]:
    """What the parser found, first first. Raises the failure itself where it says something else."""
    try:
        errors: list[dict[str, Any]] = json.loads(str(failed))["errors"]
    except (json.JSONDecodeError, KeyError, TypeError):
        raise failed from None
    return errors or [{}]
