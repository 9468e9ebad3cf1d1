"""How policy data names callers, actions and targets, in the form the library's Rego reads (policies/lockgate/selectors.rego), and
what it selects, for the gateway's own sums."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

ANY: Final = "*"


def selector(targets: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The derived form of a target selector; None selects every target, also where a question has none."""
    if targets is None:
        return None
    derived = {**_parts(targets), "except": [_parts(excepted) for excepted in targets.get("except", ())] or None}
    return derived if any(part is not None for part in derived.values()) else None


def selects(derived: Mapping[str, Any] | None, target: Mapping[str, Any]) -> bool:
    """Whether a target (as in policy input) is meant: exactly what `selects` of policies/lockgate/selectors.rego says."""
    if derived is None:
        return True
    return _matches(derived, target) and not any(_matches(excepted, target) for excepted in derived["except"] or ())


def action_fields(asked: Mapping[str, Any]) -> dict[str, Any] | None:
    """The derived form of `effects`, `drivers` and `risks` of a role or rule; None is any action."""
    return _fields(asked, effect="effects", driver="drivers", risk="risks")


def action_patterns(names: Iterable[str] | None) -> dict[str, Any] | None:
    """The derived form of action patterns: names, and beginnings that were followed by `*`; None is any action."""
    names = list(names or [ANY])
    if ANY in names:
        return None
    return {
        "names": set_of(name for name in names if not name.endswith(ANY)),
        "prefixes": sorted({name[:-1] for name in names if name.endswith(ANY)}),
    }


def callers(subjects: Iterable[Mapping[str, Any]] | None) -> list[dict[str, Any]] | None:
    """The derived form of listed callers: for each, fields of `input.subject` with what they must be; None is everybody."""
    return None if subjects is None else [_caller(subject) for subject in subjects]


def set_of(names: Iterable[str]) -> dict[str, bool]:
    """A set as Rego looks it up: name → true."""
    return dict.fromkeys(names, True)


def _caller(subject: Mapping[str, Any]) -> dict[str, Any]:
    named = {"issuer": subject["issuer"], "subject": subject["id"]}
    if "kind" in subject:
        named["kind"] = subject["kind"]
    return {field: set_of([value]) for field, value in named.items()}


def _parts(targets: Mapping[str, Any]) -> dict[str, Any]:
    labels = targets.get("labels")
    return {
        "fields": _fields(targets, name="names", environment="environments", region="regions"),
        "labels": None if labels is None else {key: set_of(values) for key, values in labels.items()},
    }


def _matches(parts: Mapping[str, Any], target: Mapping[str, Any]) -> bool:
    fields, labels = parts["fields"] or {}, parts["labels"] or {}
    if not all(target.get(field) in values for field, values in fields.items()):
        return False
    carried = target["labels"]
    return all(key in carried and (carried[key] in values or ANY in values) for key, values in labels.items())


def _fields(asked: Mapping[str, Any], **parts: str) -> dict[str, Any] | None:
    """Field of the input → what it may be, for the parts that are named and do not say "any"."""
    named = {field: set_of(asked[part]) for field, part in parts.items() if part in asked and ANY not in asked[part]}
    return named or None
