"""Reads `runbook.toml` from the sealed source: tasks, their parameters and their commands; it must not accept what it does not know."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lockgate.job.drivers.port import StageRefused
from lockgate.job.drivers.runbook.parameters import Parameter, read_parameter
from lockgate.job.drivers.runbook.templates import Template, read_template

FILE = "runbook.toml"
COMMANDS = ("check", "apply", "verify", "read")
MAX_FILE_BYTES = 1 << 20
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}", re.ASCII)
_PARAMETER = re.compile(r"[a-z][a-z0-9_]{0,62}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Task:
    """One task: its parameters by name and, of `check`, `apply`, `verify` and `read`, the commands it declares."""

    name: str
    parameters: Mapping[str, Parameter]
    commands: Mapping[str, Template]


def read_task(source: Path, name: str) -> Task:
    """The task of that name. Raises StageRefused with the faulty field of `runbook.toml`, or when there is no such file or task."""
    path = source / FILE
    if not path.is_file():
        raise StageRefused(f"source: holds no {FILE}; a runbook source needs one at its top")
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise StageRefused(f"{FILE}: larger than {MAX_FILE_BYTES} bytes")
        document = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise StageRefused(f"{FILE}: {error}") from None
    _only(document, {"version", "tasks"}, "")
    if document.get("version") != 1:
        raise StageRefused(f"{FILE}: version: must be 1")
    tasks = _table(document.get("tasks", {}), "tasks")
    if name not in tasks:
        raise StageRefused(f"entry: {FILE} has no task {name[:80]!r}; it has {', '.join(sorted(tasks)) or 'none'}")
    if not _NAME.fullmatch(name):
        raise StageRefused(f"{FILE}: tasks.{name}: a name is lower-case letters, digits, - and _")
    return _task(name, _table(tasks[name], f"tasks.{name}"))


def _task(name: str, body: Mapping[str, Any]) -> Task:
    where = f"tasks.{name}"
    _only(body, {"description", "parameters", *COMMANDS}, where)
    parameters: dict[str, Parameter] = {}
    for parameter, declared in _table(body.get("parameters", {}), f"{where}.parameters").items():
        field = f"{where}.parameters.{parameter}"
        if not _PARAMETER.fullmatch(parameter):
            raise StageRefused(f"{FILE}: {field}: a name is lower-case letters, digits and _")
        parameters[parameter] = read_parameter(_table(declared, field), f"{FILE}: {field}")
    commands = {
        command: read_template(body[command], frozenset(parameters), f"{FILE}: {where}.{command}")
        for command in COMMANDS
        if command in body
    }
    if not commands:
        raise StageRefused(f"{FILE}: {where}: declares no command; it needs apply or read")
    return Task(name, parameters, commands)


def _table(value: Any, field: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise StageRefused(f"{FILE}: {field}: must be a table")
    return value


def _only(table: Mapping[str, Any], known: set[str], where: str) -> None:
    for key in table:
        if key not in known:
            raise StageRefused(
                f"{FILE}: {where + '.' if where else ''}{key}: is not known; known are {', '.join(sorted(known))}"
            )
