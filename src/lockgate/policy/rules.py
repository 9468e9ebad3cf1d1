"""What policy data may say of each rule, and the form in which Rego reads it; it judges no plan.

A rule brings its own parameters in the metadata of its Rego package (`policies/lockgate/rules/`), so a new rule needs nothing here. A parameter is a JSON
Schema with three words more: `default` is filled in, `required` (true) must be given, and `form` says how Rego reads it: `set` (a list becomes
value → true), `patterns` (names, or beginnings followed by `*`), `folded` (the same in small letters), `sets` and `patterns_by_name` (the same under each name of a
map), or as it stands.
"""

from __future__ import annotations

import datetime as dt
import difflib
import json
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

from lockgate.policy.builtins import parse_rfc3339_ns
from lockgate.policy.compile import MANIFEST_NAME
from lockgate.policy.located import Located
from lockgate.policy.selectors import callers, selector, set_of

Rules = Mapping[str, Mapping[str, Any]]
"""Rule → its metadata, as the manifest has it (`lockgate.policy.compile.rule_texts`)."""

DEFAULT_QUESTIONS: Final = ("plan", "apply")
"""What a rule is asked that names no `questions`."""

SHARED: Final = ("targets", "effect", "unknown", "require", "exceptions")
"""What an entry of every rule may say."""

_WORDS: Final = ("form", "required", "default")


@cache
def library_rules() -> Rules:
    """The rules of the default library."""
    manifest = files("lockgate.policy").joinpath("library", MANIFEST_NAME).read_text(encoding="utf-8")
    rules: Rules = json.loads(manifest)["rules"]
    return rules


def data_schema(rules: Rules) -> dict[str, Any]:
    """The schema of policy data with the parameters of these rules in it."""
    schema: dict[str, Any] = json.loads(
        files("lockgate.contract").joinpath("schemas", "policy-data-v1.json").read_text(encoding="utf-8")
    )
    shared = schema["$defs"]["rule_entry"]["properties"]
    schema["properties"]["rules"] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            name: {"type": "array", "minItems": 1, "maxItems": 100, "items": _entry(shared, rule["parameters"])}
            for name, rule in rules.items()
            if "parameters" in rule
        },
    }
    return schema


def _entry(shared: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    own = {
        name: {word: value for word, value in parameter.items() if word not in _WORDS}
        for name, parameter in parameters.items()
    }
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {**shared, **own},
        "required": ["effect", *(name for name, parameter in parameters.items() if parameter.get("required") is True)],
    }


def require_known_rules(located: Located, rules: Rules) -> None:
    """Every rule that the data lists is one of these. Raises PolicyLoadError with its line and the nearest name."""
    listed = located.value.get("rules") if isinstance(located.value, dict) else None
    known = [name for name, rule in rules.items() if "parameters" in rule]
    for name in listed if isinstance(listed, dict) else ():
        if name not in known:
            near = difflib.get_close_matches(str(name), known, 1)
            hint = f"did you mean {near[0]!r}?" if near else "docs/reference/rules.md lists them"
            raise located.refuse(("rules", name), f"there is no rule of this name to configure; {hint}")


def require_real_times(located: Located) -> None:
    """`until` of every exception is a moment that exists. Raises PolicyLoadError with its line."""
    for rule, entries in located.value.get("rules", {}).items():
        for index, entry in enumerate(entries):
            for place, exception in enumerate(entry.get("exceptions", ())):
                try:
                    _utc(exception["until"])
                except (ValueError, OverflowError):
                    path = ("rules", rule, index, "exceptions", place, "until")
                    raise located.refuse(path, "is no RFC 3339 time such as 2027-01-31T18:00:00Z") from None


def derive_rules(
    data: Mapping[str, Any], rules: Rules, requirement: Callable[[Mapping[str, Any]], dict[str, Any]]
) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Question → rule → entries in the form Rego reads, of data known to be valid. A question without an entry is absent."""
    standard = data["approvals"]["standard"]
    derived: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for name, entries in data.get("rules", {}).items():
        made = [
            {
                **_parameters(rules[name]["parameters"], entry),
                "targets": selector(entry.get("targets")),
                "effect": entry["effect"],
                "unknown": entry.get("unknown", entry["effect"]),
                "require": requirement(entry.get("require", standard)),
                "exceptions": [
                    {
                        "targets": selector(exception.get("targets")),
                        "subjects": callers(exception.get("subjects")),
                        "resources": _patterns(exception["resources"]) if "resources" in exception else None,
                        "until": _utc(exception["until"]),
                    }
                    for exception in entry.get("exceptions", ())
                ],
            }
            for entry in entries
        ]
        for question in rules[name].get("questions", DEFAULT_QUESTIONS):
            derived.setdefault(question, {})[name] = made
    return derived


def _parameters(parameters: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    """What is neither said nor has a default stays absent: in Rego it is undefined, and null would be less than any number."""
    return {
        name: _FORMS[parameter.get("form", "value")](entry.get(name, parameter.get("default")))
        for name, parameter in parameters.items()
        if name in entry or "default" in parameter
    }


def _patterns(listed: Iterable[str]) -> dict[str, Any]:
    """Unlike a selector's, no names are none: only `*`, the beginning of everything, is all."""
    listed = tuple(listed)
    return {
        "names": set_of(pattern for pattern in listed if not pattern.endswith("*")),
        "prefixes": sorted({pattern[:-1] for pattern in listed if pattern.endswith("*")}),
    }


_FORMS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "value": lambda value: value,
    "set": set_of,
    "sets": lambda lists: {name: set_of(listed) for name, listed in lists.items()},
    "patterns": _patterns,
    "folded": lambda listed: _patterns(pattern.lower() for pattern in listed),
    "folded_by_path": lambda types: {
        name: {path: set_of(value.lower() for value in values) for path, values in paths.items()}
        for name, paths in types.items()
    },
    "patterns_by_name": lambda lists: {name: _patterns(listed) for name, listed in lists.items()},
}


def _utc(text: str) -> str:
    """An RFC 3339 time in UTC, whole seconds (rounded down: an exception never lasts longer than was said). Raises ValueError."""
    moment = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=parse_rfc3339_ns(text) // 10**9)
    return moment.replace(tzinfo=None).isoformat(timespec="seconds")
