"""Finds a driver by the name in the inputs document; it must not load one before it is asked to."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lockgate.job.drivers.port import Driver

ENTRY_POINTS = "lockgate.drivers"
Loader = Callable[[], "Driver"]

_BUILT_IN: Mapping[str, str] = {
    "runbook": "lockgate.job.drivers.runbook:RunbookDriver",
    "ansible": "lockgate.job.drivers.ansible.driver:AnsibleDriver",
}
_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}", re.ASCII)


def find(name: str) -> Loader | None:
    """What makes the driver of that name, or None; a third party's is found by entry point and cannot replace a built-in one."""
    if not _NAME.fullmatch(name):
        return None
    built_in = _BUILT_IN.get(name)
    if built_in is not None:
        return lambda: _load(built_in)
    from importlib import metadata

    found = [point.value for point in metadata.entry_points(group=ENTRY_POINTS) if point.name == name]
    return (lambda: _load(found[0])) if len(found) == 1 else None


def _load(where: str) -> Driver:
    module, _, attribute = where.partition(":")
    driver: Driver = getattr(importlib.import_module(module), attribute)()
    return driver
