"""OPA's own published cases of every built-in that a policy may use, on the embedded engine. What differs is listed here with its reason."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.unit.policy.builtins.cases import Case, Outcome, read_cases, run_cases

from lockgate.policy.builtins import OFFERED
from lockgate.policy.opa import run_opa
from lockgate.policy.purity import ALLOWED, COMPILED

POLICIES = Path(__file__).parents[4] / "policies"
CALL = re.compile(r"(?<![\w.])([a-z_][a-z0-9_]*(?:\.[a-z0-9_]+)*)\(")

STRICTER = "the host refuses what OPA leaves undefined: the embedded engine denies by name, since a deny rule would miss what is undefined"
UNORDERED = "the Wasm target goes through sets and objects in no order, and OPA in theirs"
SPLICED = "the case is about where its own packages lie, and here each lies below a root of its own"
NO_INPUT = "the case has no input, and a decision always has one"
NOT_JSON = "the case has an input that no JSON can say"
UNBOUNDED = "OPA's parser bounds the exponent of a number, and the Wasm target's does not"
TRAPS = "the Wasm target fails on it: the engine denies (lockgate.engine.trap)"
DIFFERENT: dict[str, str] = {
    "functionerrors/undefined builtin result": STRICTER,
    "subset/array and set 1": STRICTER,
    "subset/array and set 2": STRICTER,
    "logic_op/comprehension: walk-bound iteration with and as filter": UNORDERED,
    "logic_op/comprehension: walk-bound iteration with or as filter": UNORDERED,
    "walkbuiltin/arrays no path": UNORDERED,
    "walkbuiltin/objects no path": UNORDERED,
    "regometadatachain/simple": SPLICED,
    "regometadatachain/rule mixed scope": SPLICED,
    "regometadatachain/package spanning modules": SPLICED,
    "inputvalues/loopback undefined": NO_INPUT,
    "withkeyword/builtin-value: arity-1, input must still be defined": NO_INPUT,
    "inputvalues/input set": NOT_JSON,
    "jsonbuiltins/unmarshal number beyond the supported exponent is undefined": UNBOUNDED,
    "jsonbuiltins/unmarshal number with too big an exponent is undefined": UNBOUNDED,
    "strings/format_int: bignum exact (>64-bit integer, all bases + negative)": TRAPS,
    "withkeyword/builtin: nested, mock function calls original": TRAPS,
}


def used(case: Case, known: set[str]) -> set[str]:
    return set(CALL.findall(case.text)) & known


def agrees(case: Case, outcome: Outcome) -> bool:
    """Whether the embedded engine says what OPA says: the same results, or no answer where OPA has none (STRICTER)."""
    if case.results == () and outcome.failed.startswith("lockgate.engine.builtin"):
        return True
    if case.results is not None:
        return _sorted(case, outcome.answers) == _sorted(case, list(case.results))
    if case.defined is not None:
        return outcome.answers is not None and bool(outcome.answers) == case.defined
    # An error of a function that Wasm has itself leaves the rule undefined, as OPA does unless it is asked strictly.
    return bool(outcome.failed) or (case.strict and outcome.answers == [])


def _sorted(case: Case, results: list[Any] | None) -> list[Any] | None:
    if results is None or not case.unsorted:
        return results
    return sorted(results, key=lambda result: json.dumps(result, sort_keys=True))


@pytest.mark.opa
@pytest.mark.slow
def test_the_cases_of_every_built_in_that_a_policy_may_use(opa: Path, opa_cases: Path) -> None:
    known = {item["name"] for item in json.loads(run_opa(opa, ["capabilities", "--current"]))["builtins"]}
    cases = [case for case in read_cases(opa_cases) if used(case, known) and used(case, known) <= ALLOWED]
    hosted = [case for case in cases if used(case, known) & set(OFFERED)]
    found = {case.note: (case, outcome) for case, outcome in _grouped(opa, cases) if not agrees(case, outcome)}
    print(
        f"\n{len(cases)} of OPA's own cases, {len(hosted)} of them of built-ins that are ours; {len(found)} differ, as listed"
    )
    assert len(cases) > 900
    assert len(hosted) > 300
    unlisted = {note: outcome for note, (_, outcome) in found.items() if note not in DIFFERENT}
    assert unlisted == {}
    assert set(DIFFERENT) == set(found), "these agree now, or are no cases any more: take them off the list"


@pytest.mark.opa
@pytest.mark.slow
def test_every_built_in_of_ours_has_a_case_or_is_compared_with_opa_itself(opa: Path, opa_cases: Path) -> None:
    from tests.unit.policy.builtins.test_against_opa import COMPARED

    covered = set().union(*(used(case, set(OFFERED)) for case in read_cases(opa_cases)))
    assert set(OFFERED) - covered - COMPARED == set()
    assert not COMPILED & set(OFFERED)


def _grouped(opa: Path, cases: Sequence[Case]) -> list[tuple[Case, Outcome]]:
    """In groups that compile in a moment each."""
    done = []
    for first in range(0, len(cases), 40):
        done += list(run_cases(opa, POLICIES / "capabilities.json", cases[first : first + 40]))
    return done
