"""Turns the data users edit into the form the library's Rego reads; it knows the data's schema and decides nothing.

The derived form is what is hashed into the revision and what the engine holds: bindings indexed by issuer, subject and
kind, roles by question, lists as sets, times of day as minutes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import jsonschema_rs

from lockgate.contract.decision import CREDENTIAL_SCOPE_ORDER, SANDBOX_ORDER
from lockgate.policy import brought
from lockgate.policy.located import Located, Path, read_located
from lockgate.policy.needs import derive_history, repeated_name
from lockgate.policy.port import PolicyLoadError
from lockgate.policy.rules import (
    Rules,
    data_schema,
    derive_rules,
    library_rules,
    require_known_rules,
    require_real_times,
)
from lockgate.policy.schemas import describe
from lockgate.policy.selectors import action_fields, action_patterns, selector, set_of
from lockgate.policy.times import derive_exceptions, derive_freezes, derive_windows, require_sound_times

MAX_DATA_BYTES: Final = 4 << 20
DEFAULT_QUESTIONS: Final = ("list", "request", "plan", "apply")
"""What a role that names no question may be asked; everyone may view and cancel what they asked for themselves."""

KINDS: Final = ("agent", "human", "runner")


def read_parameters(text: str, file: str, rules: Rules | None = None) -> dict[str, Any]:
    """The derived form of one data file (YAML, or JSON if `file` ends so), for a policy with these rules (None: the library's).

    Raises PolicyLoadError with line and field.
    """
    if len(text) > MAX_DATA_BYTES:
        raise PolicyLoadError(file, f"is larger than {MAX_DATA_BYTES} bytes")
    located = read_located(text, file)
    rules = library_rules() if rules is None else rules
    require_known_rules(located, rules)
    for error in jsonschema_rs.Draft202012Validator(data_schema(rules)).iter_errors(located.value):
        path = tuple(error.instance_path)
        unexpected = error.kind.as_dict().get("unexpected")
        raise located.refuse((*path, sorted(unexpected)[0]) if unexpected else path, describe(error))
    _require_known_names(located)
    require_real_times(located)
    require_sound_times(located)
    return derive(located.value, rules)


def derive(data: Mapping[str, Any], rules: Rules) -> dict[str, Any]:
    """The derived form of data that is known to be valid."""
    roles = data["roles"]
    subjects: dict[str, Any] = {}
    token_roles: dict[str, Any] = {}
    for binding in data["bindings"]:
        subject = binding["subject"]
        if "role" in subject:
            by_kind = token_roles.setdefault(subject["role"], {})
        else:
            by_kind = subjects.setdefault(subject["issuer"], {}).setdefault(subject["id"], {})
        for kind in [binding["kind"]] if "kind" in binding else KINDS:
            by_kind[kind] = sorted({*by_kind.get(kind, ()), *binding["roles"]})
    return {
        "subjects": subjects,
        "token_roles": token_roles,
        "grants": _grants(roles),
        "windows": derive_windows(data),
        "freezes": derive_freezes(data),
        "exceptions": derive_exceptions(data),
        "limits": [_limit(limit) for limit in data.get("limits", ())],
        "regions": {tenant: set_of(regions) for tenant, regions in data["regions"].items()},
        "approvals": _approvals(data["approvals"]),
        "humans": dict(data.get("humans", {})),
        "bring": {entry["name"]: _brought(entry, data["approvals"]) for entry in data.get("bring", ())},
        "budgets": _budgets(data),
        "history": derive_history(data),
        "rules": derive_rules(data, rules, _requirement),
    }


def _grants(roles: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    grants: dict[str, dict[str, Any]] = {}
    for name, role in roles.items():
        grant = {
            "fields": action_fields(role),
            "actions": action_patterns(role.get("actions")),
            "targets": selector(role.get("targets")),
        }
        for question in role.get("questions", DEFAULT_QUESTIONS):
            grants.setdefault(question, {})[name] = grant
    return grants


def _limit(limit: Mapping[str, Any]) -> dict[str, Any]:
    """Absent stays absent: in Rego a number is greater than null."""
    derived: dict[str, Any] = {"targets": selector(limit.get("targets")), "obligations": {}}
    for name in ("max_changes", "max_destroys", "incomplete", "provisioners"):
        if name in limit:
            derived[name] = limit[name]
    ranks = {"sandbox": SANDBOX_ORDER.index, "credential_scope": CREDENTIAL_SCOPE_ORDER.index}
    for name in ("sandbox", "credential_scope"):
        if name in limit:
            derived["obligations"][name] = {"rank": ranks[name](limit[name]), "value": limit[name]}
    if "max_seconds" in limit:
        derived["obligations"]["max_seconds"] = {"rank": -limit["max_seconds"], "value": limit["max_seconds"]}
    return derived


def _budgets(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    standard = data["approvals"]["standard"]
    return [
        {
            **budget,
            "targets": selector(budget.get("targets")),
            "require": _requirement(budget.get("require", standard)),
        }
        for budget in data.get("budgets", ())
    ]


def _approvals(approvals: Mapping[str, Any]) -> dict[str, Any]:
    standard = _requirement(approvals["standard"])
    return {
        "approvers": sorted(approvals["approvers"]),
        "standard": standard,
        "rules": [
            {
                "name": rule["name"],
                "targets": selector(rule.get("targets")),
                "fields": action_fields({"effects": ("change", "destroy"), **rule}),
                "actions": action_patterns(rule.get("actions")),
                "at_least": rule.get("at_least"),
                "fidelity": rule.get("fidelity"),
                "destructive": rule.get("destructive", False),
                "require": _requirement(rule["require"]) if "require" in rule else standard,
            }
            for rule in approvals.get("rules", ())
        ],
    }


def _brought(entry: Mapping[str, Any], approvals: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **brought.derive_entry(entry),
        "targets": selector(entry.get("targets")),
        "require": _requirement(entry.get("require", approvals["standard"])),
    }


def _requirement(requirement: Mapping[str, Any]) -> dict[str, Any]:
    """`groups` as group → votes: a list means `count` votes of each."""
    groups = requirement["groups"]
    if not isinstance(groups, Mapping):
        groups = dict.fromkeys(groups, requirement["count"])
    return {
        "count": max(requirement.get("count", 1), *groups.values(), 1),
        "groups": groups,
        "expires_in": requirement["expires_in_seconds"],
    }


def _require_known_names(located: Located) -> None:
    """What a schema cannot say: roles and groups that are named must exist."""
    data = located.value
    for index, binding in enumerate(data["bindings"]):
        _require_roles(located, binding["roles"], ("bindings", index, "roles"))
    approvals = data["approvals"]
    _require_roles(located, approvals["approvers"], ("approvals", "approvers"))
    _require_roles(located, approvals["standard"]["groups"], ("approvals", "standard", "groups"))
    for index, rule in enumerate(approvals.get("rules", ())):
        if "require" in rule:
            _require_roles(located, rule["require"]["groups"], ("approvals", "rules", index, "require", "groups"))
    for index, entry in enumerate(data.get("bring", ())):
        if "require" in entry:
            _require_roles(located, entry["require"]["groups"], ("bring", index, "require", "groups"))
    brought.require_sound(located)
    for index, budget in enumerate(data.get("budgets", ())):
        if "require" in budget:
            _require_roles(located, budget["require"]["groups"], ("budgets", index, "require", "groups"))
    repeated = repeated_name(data.get("budgets", ()))
    if repeated is not None:
        raise located.refuse(("budgets", repeated, "name"), "is another budget's name: each needs its own")
    for rule, entries in data.get("rules", {}).items():
        for index, entry in enumerate(entries):
            groups = entry["require"]["groups"] if "require" in entry else ()
            _require_roles(located, groups, ("rules", rule, index, "require", "groups"))


def _require_roles(located: Located, names: Iterable[str], path: Path) -> None:
    for place, name in zip(names, names, strict=True) if isinstance(names, Mapping) else enumerate(names):
        if name not in located.value["roles"]:
            raise located.refuse((*path, place), f"there is no role {name!r} under `roles`")
