"""Finds a driver by the name in the inputs document; it must not load one before it is asked to."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lockgate.job.drivers.port import Driver

    Loader = Callable[[], Driver]

ENTRY_POINTS = "lockgate.drivers"

_BUILT_IN: Mapping[str, str] = {
    "runbook": "lockgate.job.drivers.runbook:RunbookDriver",
    "ansible": "lockgate.job.drivers.ansible.driver:AnsibleDriver",
    "opentofu": "lockgate.job.drivers.opentofu.driver:OpenTofuDriver",
}
MAX_NAME = 63
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz")
_LATER = _LETTERS | frozenset("0123456789-")


def find(name: str) -> Loader | None:
    """What makes the driver of that name, or None; a third party's is found by entry point and cannot replace a built-in one."""
    if not 0 < len(name) <= MAX_NAME or name[0] not in _LETTERS or not _LATER.issuperset(name):
        return None
    built_in = _BUILT_IN.get(name)
    if built_in is not None:
        return lambda: _load(built_in)
    from importlib import metadata

    found = [point.value for point in metadata.entry_points(group=ENTRY_POINTS) if point.name == name]
    return (lambda: _load(found[0])) if len(found) == 1 else None


def _load(where: str) -> Driver:
    import importlib

    module, _, attribute = where.partition(":")
    driver: Driver = getattr(importlib.import_module(module), attribute)()
    return driver
