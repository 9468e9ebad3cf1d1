"""Single changes to a policy input that might change an answer, each a pure function of the document; it asks no engine.

They are few and typed: what a caller, a request, a time or a plan could be instead. A change that the input's schema refuses is found out by the
engine, which then denies by `lockgate.engine.input`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

Document = Mapping[str, Any]
Path = tuple[str | int, ...]
OTHER: Final = "something-else"
MAX_NAMES: Final = 50
MAX_KEYS: Final = 100
_EFFECTS: Final = ("read", "change", "destroy")
_SUMMARIES: Final = {("create",): "create", ("update",): "update", ("delete",): "delete"}
_HOURS: Final = range(1, 8 * 24 + 1)
_PLAIN: Final[tuple[Path, ...]] = (
    ("subject", "kind"),
    ("subject", "owner"),
    ("subject", "on_behalf_of"),
    ("subject", "issuer"),
    ("subject", "subject"),
    ("subject", "authentication", "auth_time"),
    ("action", "name"),
    ("action", "effect"),
    ("action", "risk"),
    ("action", "driver"),
    ("target", "name"),
    ("target", "environment"),
    ("target", "region"),
    ("reason",),
    ("plan", "incomplete"),
    ("plan", "fidelity"),
    ("plan", "provisioners"),
    ("plan", "providers"),
    ("plan", "configuration"),
    ("approvals",),
    ("context", "freeze"),
    ("context", "history"),
    ("context", "requester"),
)
_OPEN: Final[tuple[Path, ...]] = (("arguments",), ("target", "labels"), ("context", "budgets"), ("plan", "summary"))
"""Maps whose every key is a place of its own."""


@dataclass(frozen=True, slots=True)
class Move:
    """`at` is where, `said` what would be there instead, `apply` makes the document with it."""

    at: Path
    said: str
    apply: Callable[[Document], Document]


def pointer(path: Path) -> str:
    """The path as a JSON pointer."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def value_at(document: Any, path: Path) -> Any:
    """What stands there; None where nothing does."""
    for part in path:
        try:
            document = document[part]
        except (KeyError, IndexError, TypeError):
            return None
    return document


def plain_moves(document: Document) -> Iterator[Move]:
    """One or more for every place outside a plan's changes that has a value."""
    yield from (move for path in _PLAIN for move in _instead(path, value_at(document, path)))
    for path in _OPEN:
        inner = value_at(document, path)
        for name in list(inner)[:MAX_KEYS] if isinstance(inner, Mapping) else ():
            yield from _instead((*path, name), inner[name], optional=path != ("plan", "summary"))
    roles = value_at(document, ("subject", "roles"))
    if roles:
        yield Move(("subject", "roles"), "no roles", _putter(("subject", "roles"), []))


@dataclass(frozen=True, slots=True)
class Known:
    """Names that policy data itself speaks of, for this question and tenant: what could stand in an input instead."""

    roles: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()


def granting_moves(document: Document, known: Known) -> Iterator[Move]:
    """What policy data would recognise: another role, another environment, another region of the tenant."""
    has = value_at(document, ("subject", "roles")) or []
    for role in [name for name in known.roles if name not in has][:MAX_NAMES]:
        yield Move(("subject", "roles"), f"the role {role}", _putter(("subject", "roles"), [*has, role]))
    for part, names in (("environment", known.environments), ("region", known.regions)):
        path: Path = ("target", part)
        for name in [item for item in names if item != value_at(document, path)][:MAX_NAMES]:
            yield Move(path, json.dumps(name), _putter(path, name))


def later_moves(document: Document) -> Iterator[Move]:
    """The same question later: at every full hour of the next eight days."""
    now = value_at(document, ("context", "now"))
    try:
        begin = datetime.strptime(str(now), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return
    begin = begin.replace(minute=0, second=0)
    for hours in _HOURS:
        text = (begin + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")
        yield Move(("context", "now"), text, _putter(("context", "now"), text))


def without_resources(document: Document, addresses: Sequence[str]) -> Move | None:
    """The plan without the changes at these addresses, its summary counted again; None when none of them is there."""
    changes = value_at(document, ("plan", "resource_changes")) or []
    gone = [index for index, change in enumerate(changes) if change.get("address") in addresses]
    if not gone:
        return None
    path: Path = ("plan", "resource_changes") if len(gone) > 1 else ("plan", "resource_changes", gone[0])
    named = ", ".join(str(changes[index]["address"]) for index in gone[:5]) + (", …" if len(gone) > 5 else "")

    def apply(given: Document) -> Document:
        plan = given["plan"]
        kept = [change for change in plan["resource_changes"] if change.get("address") not in addresses]
        left = [change for change in plan["resource_changes"] if change.get("address") in addresses]
        summary = dict(plan["summary"])
        for change in left:
            actions = tuple(value_at(change, ("change", "actions")) or ())
            kind = "replace" if len(actions) > 1 else _SUMMARIES.get(actions, "")
            if summary.get(kind, 0) > 0:
                summary[kind] -= 1
        return {**given, "plan": {**plan, "resource_changes": kept, "summary": summary}}

    return Move(path, f"a plan without {named}", apply)


def inner_moves(document: Document, path: Path) -> Iterator[Move]:
    """One for every key or item of the container at `path`: without it, or with something else in its place."""
    inner = value_at(document, path)
    if isinstance(inner, Mapping):
        for name in list(inner)[:MAX_KEYS]:
            yield from _instead((*path, name), inner[name], optional=True)
    elif isinstance(inner, list):
        for index in range(min(len(inner), MAX_KEYS)):
            yield Move((*path, index), "without it", _putter(path, [*inner[:index], *inner[index + 1 :]]))


def _instead(path: Path, value: Any, *, optional: bool = False) -> Iterator[Move]:
    if value is None:
        return
    if optional:
        yield Move(path, "without it", lambda document: _without(document, path))
    for other in _others(path, value):
        yield Move(path, json.dumps(other), _putter(path, other))


def _others(path: Path, value: Any) -> list[Any]:
    if path == ("action", "effect"):
        return [effect for effect in _EFFECTS if effect != value]
    if path in (("subject", "kind"), ("plan", "fidelity")):
        pair = ("agent", "human") if path[0] == "subject" else ("exact", "predicted")
        return [item for item in pair if item != value]
    if path in (("subject", "owner"), ("subject", "on_behalf_of"), ("context", "requester")):
        return [None]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int | float):
        return [0] if value else [1]
    if isinstance(value, str):
        return [OTHER]
    if isinstance(value, list):
        return [[]] if value else []
    if isinstance(value, Mapping) and value:
        return [{}]
    return []


def _putter(path: Path, value: Any) -> Callable[[Document], Document]:
    return lambda document: _put(document, path, value)


def _put(document: Any, path: Path, value: Any) -> Any:
    if not path:
        return value
    inner = _put(document[path[0]], path[1:], value)
    if isinstance(document, Mapping):
        return {**document, path[0]: inner}
    return [inner if index == path[0] else item for index, item in enumerate(document)]


def _without(document: Any, path: Path) -> Any:
    if len(path) > 1:
        return _put(document, path[:1], _without(document[path[0]], path[1:]))
    return {name: item for name, item in document.items() if name != path[0]}
