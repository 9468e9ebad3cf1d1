"""Reads policy output v1; whatever is not exactly that becomes a denial, never a guess."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import jsonschema_rs
import orjson

from lockgate.contract.decision import ENGINE_RULES, Obligations, UnknownObligationError, Violation
from lockgate.contract.excepted import UsedException
from lockgate.contract.reading import Reading, rule_id
from lockgate.policy.failure import EvaluationFailed
from lockgate.policy.schemas import DocumentRefused, compiled, require_valid

NO_ALLOW = "lockgate.engine.no_allow"


@dataclass(frozen=True, slots=True)
class Answer:
    """Policy output v1 as it was read, with the texts of the revision that gave it. Decisions may share one: it MUST NOT be changed."""

    violations: tuple[Violation, ...]
    obligations: Obligations
    readings: tuple[Reading, ...]
    exceptions: tuple[UsedException, ...]


def read_output(value: Any, rules: Mapping[str, Mapping[str, Any]]) -> Answer:
    """All of an answer. Raises EvaluationFailed for what is no output v1."""
    violations, obligations = read_answer(value, rules)
    return Answer(violations, obligations, read_readings(value, rules), read_exceptions(value))


def read_answer(value: Any, rules: Mapping[str, Mapping[str, Any]]) -> tuple[tuple[Violation, ...], Obligations]:
    """Violations (in the order of rule and details) and obligations; no violation means allow.

    `rules` is the bundle's rule → metadata with title, message, fix. Raises EvaluationFailed for what is no output v1.
    """
    _refuse_unknown_obligation(value)
    try:
        require_valid(_schema(), value)
    except DocumentRefused as refused:
        raise EvaluationFailed("lockgate.engine.output", str(refused)) from None
    try:
        obligations = Obligations.from_document(value["obligations"])
    except UnknownObligationError as unknown:
        raise EvaluationFailed("lockgate.engine.obligation", str(unknown)) from None
    violations = sorted((_violation(item, rules) for item in value["violations"]), key=_order)
    if not violations and not value["allow"]:
        violations = [Violation(NO_ALLOW, *ENGINE_RULES[NO_ALLOW])]
    return tuple(violations), obligations


def read_readings(value: Mapping[str, Any], rules: Mapping[str, Mapping[str, Any]]) -> tuple[Reading, ...]:
    """What rules said, by name, of a value that `read_answer` took. Raises EvaluationFailed for a number that JSON cannot say."""
    readings = []
    for item in sorted(value.get("readings", ()), key=lambda item: (item["name"], item["path"])):
        if not all(math.isfinite(item[name]) for name in ("value", "limit") if isinstance(item.get(name), float)):
            raise EvaluationFailed("lockgate.engine.output", f"readings: {item['name']} is no finite number")
        title = rules.get(rule_id(item["name"], item["path"]), {}).get("title", item["name"])
        readings.append(Reading.from_document({**item, "title": title}))
    return tuple(readings)


def read_exceptions(value: Mapping[str, Any]) -> tuple[UsedException, ...]:
    """The exceptions that were made use of, in order, of a value that `read_answer` took."""
    return tuple(sorted(UsedException.from_document(item) for item in value.get("exceptions", ())))


def _refuse_unknown_obligation(value: Any) -> None:
    """Said before the schema says it, so that the decision names the obligation rather than a shape."""
    obligations = value.get("obligations") if isinstance(value, dict) else None
    if isinstance(obligations, dict):
        unknown = sorted(set(obligations) - {"approvals", "sandbox", "max_seconds", "credential_scope"})
        if unknown:
            raise EvaluationFailed("lockgate.engine.obligation", f"obligations.{unknown[0][:64]} is not known")


def _violation(item: Mapping[str, Any], rules: Mapping[str, Mapping[str, Any]]) -> Violation:
    rule = item["rule"]
    text = rules.get(rule)
    if text is None:
        text = {
            "title": rule,
            "message": f"The policy rule {rule} forbids this.",
            "fix": "Ask an administrator what this rule wants.",
        }
    return Violation(rule, text["title"], text["message"], text["fix"], item.get("details", {}))


def _order(violation: Violation) -> tuple[str, bytes]:
    """A Rego set has no order of its own; a decision has, so that a replay is the same bytes."""
    return violation.rule, orjson.dumps(violation.details, option=orjson.OPT_SORT_KEYS)


@cache
def _schema() -> jsonschema_rs.Draft202012Validator:
    return compiled("policy-output-v1.json")
