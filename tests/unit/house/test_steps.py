"""The map of ARCHITECTURE §3: every step of an operation's way is a marked function in the module that is due, and nothing else is marked."""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
from pathlib import Path

import pytest

from lockgate.contract.steps import STEPS, step

ADMISSION, PROGRESS, RUN = "lockgate.gateway.admission", "lockgate.gateway.progress", "lockgate.runner.run"
DUE = {
    1: {ADMISSION},
    2: {ADMISSION},
    3: {ADMISSION},
    4: {ADMISSION},
    5: {PROGRESS},
    6: {PROGRESS},
    7: {RUN},
    8: {PROGRESS},
    9: {PROGRESS},
    10: {PROGRESS},
    11: {RUN},
    12: {PROGRESS, RUN},
    13: {PROGRESS, RUN},
    14: {PROGRESS},
}
ALSO = {(PROGRESS, 7), (PROGRESS, 11)}
"""The gateway's half of a runner's step: the start of a plan, the comparison of a check."""


def marked() -> dict[str, dict[str, list[int]]]:
    """Module → function → its steps."""
    found = {}
    for name in (ADMISSION, PROGRESS, RUN):
        module = importlib.import_module(name)
        functions = inspect.getmembers(module, inspect.isfunction)
        found[name] = {
            label: function.lockgate_steps
            for label, function in functions
            if function.__module__ == name and hasattr(function, "lockgate_steps")
        }
    return found


def test_every_step_has_its_function_where_it_is_due() -> None:
    done = {(module, number) for module, items in marked().items() for steps in items.values() for number in steps}
    assert done == {(module, number) for number, modules in DUE.items() for module in modules} | ALSO
    assert set(DUE) == set(STEPS) == set(range(1, 15))


def test_no_other_module_marks_a_step(root: Path) -> None:
    marking = set()
    for path in (root / "src" / "lockgate").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "lockgate.contract.steps":
                marking.add(".".join(path.relative_to(root / "src").with_suffix("").parts))
    assert marking == {ADMISSION, PROGRESS, RUN}


def test_steps_stand_in_their_order_in_admission() -> None:
    """Each is one screen of numbered functions: a reader follows the way downwards."""
    module = importlib.import_module(ADMISSION)
    lines = {
        label: inspect.getsourcelines(getattr(module, label))[1]
        for label, steps in marked()[ADMISSION].items()
        if steps
    }
    order = sorted(lines, key=lambda label: lines[label])
    numbers = [marked()[ADMISSION][label] for label in order]
    assert numbers == sorted(numbers)
    assert [steps for steps, _ in itertools.groupby(numbers)] == [[1], [2], [3], [4]], "a step may be several functions"


@pytest.mark.parametrize("number", [0, 15, -1])
def test_there_is_no_other_step(number: int) -> None:
    with pytest.raises(ValueError, match="no step"):
        step(number)
