"""The page of the policy library's rules, from the metadata beside each rule; it must not say anything of its own about one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from lockgate.cli.reference.markdown import table, type_name
from lockgate.policy.compile import SEVERITIES
from lockgate.policy.rules import DEFAULT_QUESTIONS, SHARED, data_schema, library_rules

WIDTH = 140
READ_AS = {
    "patterns": "each a name, or a beginning followed by `*`",
    "patterns_by_name": "each value a text, or a beginning followed by `*`",
    "folded": "each a name, or a beginning followed by `*`; in any letters",
    "folded_by_path": "values in any letters",
}
"""What a `form` means to whoever writes the data."""


def rules_page() -> str:
    """Every rule: those that policy data turns on, with their parameters, and those that always hold."""
    rules = library_rules()
    listed = {name: rule for name, rule in sorted(rules.items()) if "parameters" in rule}
    always = {name: rule for name, rule in sorted(rules.items()) if "parameters" not in rule}
    parts = [
        "# Rules of the policy library\n",
        "A rule of the first table is off until the policy data lists it under `rules`, by any number of entries. Each entry says for itself which targets it",
        "selects, whether a fault is denied or needs approval, and until when what is excepted. A rule that is off costs nothing. See",
        "[how to choose rules](../how-to/choose-rules.md).\n",
        _overview(listed, linked=True),
        "## What every entry may say\n",
        table(("field", "type", "required", "meaning"), _shared(rules)),
        "\nParameters with a default replace it whole when they are given.\n",
    ]
    parts += [_section(name, rule) for name, rule in listed.items()]
    parts += ["## Rules that always hold\n", "Their numbers and names stand elsewhere in the policy data.\n"]
    parts += [_overview(always, linked=False), *(_always(name, rule) for name, rule in always.items())]
    return "\n".join(parts)


def _overview(rules: Mapping[str, Mapping[str, Any]], *, linked: bool) -> str:
    ordered = sorted(rules.items(), key=lambda item: (-SEVERITIES.index(item[1]["severity"]), item[0]))
    return table(
        ("rule", "severity", "what it says", "asked at"),
        [
            (
                f"[`{name}`](#{name})" if linked else f"`{name}`",
                rule["severity"],
                rule["title"],
                ", ".join(rule.get("questions", DEFAULT_QUESTIONS)) if linked else "wherever it bears",
            )
            for name, rule in ordered
        ],
    )


def _shared(rules: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, str, str]]:
    schema = data_schema(rules)
    definitions = schema["$defs"]
    for name in SHARED:
        field = definitions["rule_entry"]["properties"][name]
        yield f"`{name}`", _type(field), "yes" if name == "effect" else "", field.get("description", "")
    for name, field in definitions["exception"]["properties"].items():
        required = "yes" if name in definitions["exception"]["required"] else ""
        yield f"`exceptions[].{name}`", _type(field), required, field.get("description", "")


def _section(name: str, rule: Mapping[str, Any]) -> str:
    parts = [
        f"## {name}\n",
        f"**{rule['title']}.** {_prose(rule['message'])} Severity: {rule['severity']}.\n",
        f"Why: {_prose(rule['why'])}\n",
        f"Fix: {_prose(rule['fix'])}\n",
    ]
    if "cannot_see" in rule:
        parts.append(f"What it cannot see: {_prose(rule['cannot_see'])}\n")
    if rule["parameters"]:
        parts.append(table(("parameter", "type", "required", "meaning"), _parameters(rule["parameters"])))
    defaults = {key: field["default"] for key, field in rule["parameters"].items() if "default" in field}
    if defaults:
        parts.append(f"Defaults:\n\n```yaml\n{_yaml(defaults)}```\n")
    if "example" in rule:
        parts.append(
            f"Example:\n\n```yaml\n{_yaml({'rules': {name: [_ordered(entry) for entry in rule['example']]}})}```\n"
        )
    return "\n".join(parts)


def _ordered(entry: Mapping[str, Any]) -> dict[str, Any]:
    """As people write it: where it holds and what it does first, exceptions last."""
    first = {word: entry[word] for word in ("targets", "effect", "unknown", "require") if word in entry}
    last = {word: entry[word] for word in ("exceptions",) if word in entry}
    return {**first, **{word: value for word, value in entry.items() if word not in SHARED}, **last}


def _parameters(parameters: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    for name, field in parameters.items():
        kind = _type({word: value for word, value in field.items() if word != "default"})
        required = "yes" if field.get("required") is True else ""
        yield f"`{name}`", kind, required, field.get("description", "")


def _type(field: Mapping[str, Any]) -> str:
    if "$ref" in field:
        return "as under `targets` of a role" if field["$ref"].endswith("targets") else "as in `approvals.standard`"
    return "; ".join(part for part in (type_name(field), READ_AS.get(str(field.get("form")), "")) if part)


def _always(name: str, rule: Mapping[str, Any]) -> str:
    return f"### {name}\n\n{_prose(rule['message'])} {_prose(rule['why'])} Fix: {_prose(rule['fix'])}\n"


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, default_flow_style=None, width=WIDTH, allow_unicode=True)


def _prose(text: str) -> str:
    return " ".join(text.split()).replace("<", "&lt;")
