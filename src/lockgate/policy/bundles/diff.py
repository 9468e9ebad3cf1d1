"""What differs between two bundles, in words of people: rules, parameters, Rego, roots, release. It judges nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from lockgate.policy.bundle import PolicyBundle

MAX_SHOWN: Final = 120
_PARAMETERS: Final = "lockgate.parameters."


def bundle_diff(old: PolicyBundle, new: PolicyBundle) -> dict[str, Any]:
    """`same` is whether both decide alike; changed texts and values as [what it was, what it is]; a null value is one that is not there."""
    return {
        "same": old.revision == new.revision,
        "revision": [old.revision, new.revision],
        "release": [_release(old), _release(new)],
        "roots": _names(dict.fromkeys(old.roots, ""), dict.fromkeys(new.roots, "")),
        "rules": _names(old.rules, new.rules)
        | {
            "texts": {
                rule: list(_changes(old.rules[rule], new.rules[rule], "")) for rule in _changed(old.rules, new.rules)
            }
        },
        "parameters": list(_changes(json.loads(old.data), json.loads(new.data), "")),
        "rego": _names(old.modules, new.modules),
        "module_changed": old.wasm != new.wasm,
    }


def lines(difference: Mapping[str, Any]) -> Iterator[str]:
    """The same for a person, one change a line."""
    yield f"revision {difference['revision'][0]} -> {difference['revision'][1]}"
    before, after = difference["release"]
    if before != after:
        yield f"release {_shown(before)} -> {_shown(after)}"
    for part in ("roots", "rules", "rego"):
        for kind, sign in (("added", "+"), ("removed", "-"), ("changed", "~")):
            for name in difference[part][kind]:
                yield f"{sign} {part}: {name}"
                for path, was, now in difference[part].get("texts", {}).get(name, ()):
                    yield f"    {path}: {_shown(was)} -> {_shown(now)}"
    for path, was, now in difference["parameters"]:
        yield f"~ {path.removeprefix(_PARAMETERS)}: {_shown(was)} -> {_shown(now)}"
    if difference["module_changed"]:
        yield "~ lockgate.wasm"
    if difference["same"]:
        yield "both decide alike"


def _release(bundle: PolicyBundle) -> dict[str, Any] | None:
    release = bundle.release
    return (
        None
        if release is None
        else {"sequence": release.sequence, "signed_at": release.signed_at, "max_age": release.max_age}
    )


def _names(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, list[str]]:
    return {
        "added": sorted(new.keys() - old.keys()),
        "removed": sorted(old.keys() - new.keys()),
        "changed": _changed(old, new),
    }


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return sorted(name for name in old.keys() & new.keys() if old[name] != new[name])


def _changes(old: Any, new: Any, path: str) -> Iterator[list[Any]]:
    """[path, what it was, what it is] of every value that differs."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in sorted(old.keys() | new.keys()):
            yield from _changes(old.get(name), new.get(name), f"{path}.{name}" if path else name)
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            was, now = (side[index] if index < len(side) else None for side in (old, new))
            yield from _changes(was, now, f"{path}[{index}]")
    elif old != new or type(old) is not type(new):
        yield [path, old, new]


def _shown(value: Any) -> str:
    text = "nothing" if value is None else json.dumps(value, sort_keys=True)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"
