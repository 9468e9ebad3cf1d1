"""Rules of the user's own as policy data names them: what an entry means, and what is wrong with one. It reads no Rego."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lockgate.contract.reading import RULE_PREFIX, Verdict
from lockgate.policy.located import Located, Path, read_located
from lockgate.policy.port import PolicyLoadError

DEFAULT_QUESTIONS: Final = ("plan", "apply")
WITH_A_PLAN: Final = frozenset(DEFAULT_QUESTIONS)
RESERVED_ROOTS: Final = frozenset({"lockgate", "system"})
"""Packages that nobody may bring: the library's own, and those to which OPA itself gives a meaning."""


def segments(path: str) -> tuple[str, ...]:
    """`data.terraform.analysis.score`, `terraform.analysis.score` and `terraform/analysis/score` as ("terraform", "analysis", "score")."""
    parts = tuple(path.replace("/", ".").split("."))
    return parts[1:] if parts[0] == "data" else parts


def canonical(path: str) -> str:
    """The one spelling that stands in decisions: `data.terraform.analysis.score`."""
    return ".".join(("data", *segments(path)))


def derive_entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry in the form policies/lockgate/brought.rego reads, less `targets` and `require`, which all rules derive alike."""
    derived = {
        "path": canonical(entry["path"]),
        "input": entry.get("input", "plan"),
        "reads": entry["reads"],
        "effect": entry["effect"],
        "questions": dict.fromkeys(entry.get("questions", DEFAULT_QUESTIONS), True),
        "title": entry.get("title", entry["name"].replace("_", " ").capitalize()),
        "fix": entry.get("fix", "Change what the rule names, or talk to the team that owns the rule."),
        "severity": entry.get("severity", "high"),
    }
    if "limit" in entry:
        derived["limit"] = entry["limit"]
    return derived


def require_sound(located: Located) -> None:
    """What the schema cannot say of `bring`. Raises PolicyLoadError with file, line and field."""
    seen: dict[str, int] = {}
    for index, entry in enumerate(located.value.get("bring", ())):
        place: Path = ("bring", index)
        if entry["name"] in seen:
            raise located.refuse((*place, "name"), f"is the name of bring[{seen[entry['name']]}] too: each has its own")
        seen[entry["name"]] = index
        _require_own_package(located, place, segments(entry["path"]))
        _require_parts_that_fit(located, place, entry)


def _require_own_package(located: Located, place: Path, path: tuple[str, ...]) -> None:
    if len(path) < 2:
        raise located.refuse((*place, "path"), "must name a rule in its package, as data.PACKAGE.RULE")
    if path[0] in RESERVED_ROOTS:
        raise located.refuse(
            (*place, "path"), f"lies in `{path[0]}`, which is not yours: bring a rule of a package of your own"
        )


def _require_parts_that_fit(located: Located, place: Path, entry: Mapping[str, Any]) -> None:
    if entry["reads"] == "score" and "limit" not in entry:
        raise located.refuse(place, "is missing 'limit': a score passes up to a limit, and there is no default")
    if entry["reads"] != "score" and "limit" in entry:
        raise located.refuse((*place, "limit"), f"belongs to a score alone; this entry reads as `{entry['reads']}`")
    if entry["effect"] != "approve" and "require" in entry:
        raise located.refuse((*place, "require"), "says who approves, and this entry's effect is `deny`")
    early = sorted(set(entry.get("questions", ())) - WITH_A_PLAN)
    if early and entry.get("input", "plan") == "plan":
        raise located.refuse(
            (*place, "questions"),
            f"there is no plan yet at `{early[0]}`: write `input: document`, or ask at plan and apply",
        )


def unbuilt(text: str, name: str) -> PolicyLoadError:
    """The error for data that brings a rule and is to be used with the library as it was shipped."""
    problem = "needs a policy that was built with this rule, and this is the library alone: run `lockgate policy build` with --source"
    return read_located(text, name).refuse(("bring", 0), problem)


def rule_texts(parameters: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Rule id → title, message, fix, severity of every brought rule in derived parameters, as `manifest.json` has them of the library.

    The messages are for agents too: they name neither path nor limit.
    """
    texts: dict[str, dict[str, str]] = {}
    for name, entry in parameters.get("bring", {}).items():
        rule, title = RULE_PREFIX + name, entry["title"]
        own = {"title": title, "fix": entry["fix"], "severity": entry["severity"]}
        broken = {
            **own,
            "fix": "Ask an administrator: the rule, or its entry under `bring` in the policy data, is wrong.",
        }
        texts[rule] = {**own, "message": f"{title}: this rule of the deployment's own does not let it pass."}
        texts[f"{rule}.{Verdict.UNDEFINED}"] = {
            **broken,
            "message": f"{title}: this rule of the deployment's own gave no value, and no value is a no.",
        }
        texts[f"{rule}.{Verdict.MISTYPED}"] = {
            **broken,
            "message": f"{title}: what this rule of the deployment's own gave cannot be read, and an unclear value is a no.",
        }
    return texts
