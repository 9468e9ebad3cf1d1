"""The glossary and the code use the same words."""

from __future__ import annotations

import inspect
import re

import pytest
from tests.docs.pages import ROOT

from lockgate.cli.main import app  # noqa: F401  (the words below are those of the program that is shipped)
from lockgate.contract.decision import Question
from lockgate.contract.intent import Effect, Phase, PrincipalKind, Stage
from lockgate.contract.keyset import KeyRole
from lockgate.contract.plan import Fidelity
from lockgate.contract.steps import STEPS
from lockgate.gateway import admission, progress
from lockgate.gateway.operations.attempts import AttemptState
from lockgate.gateway.operations.locks import LockState
from lockgate.gateway.operations.states import State
from lockgate.runner import run

GLOSSARY = (ROOT / "docs" / "glossary.md").read_text("utf-8")
ARCHITECTURE = (ROOT / "docs" / "explanation" / "architecture.md").read_text("utf-8")
LISTED = {
    "Question": Question,
    "Phase": Phase,
    "Stage": Stage,
    "Fidelity": Fidelity,
    "Effect": Effect,
    "Principal": PrincipalKind,
    "State": State,
    "Attempt": AttemptState,
    "Lock": LockState,
    "Key role": KeyRole,
}


@pytest.mark.parametrize("word", LISTED)
def test_what_the_glossary_lists_is_what_the_code_knows(word):
    entry = re.search(rf"^- \*\*{word}\*\*.*?(?=^- |^#|\Z)", GLOSSARY, flags=re.M | re.S)
    assert entry is not None
    listed = re.search(r"One of ((?:`[a-z_]+`(?:,\s+)?)+)", entry.group())
    assert listed is not None, entry.group()
    assert set(re.findall(r"`([a-z_]+)`", listed.group(1))) == {member.value for member in LISTED[word]}


def test_every_term_is_explained_once():
    terms = re.findall(r"^- \*\*([^*]+)\*\*", GLOSSARY, flags=re.M)
    assert len(terms) == len(set(terms)) > 30


def test_the_map_of_the_steps_is_that_of_the_code():
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \| ([^|]+) \|$", ARCHITECTURE, flags=re.M)
    assert {int(number): name.strip() for number, name, _ in rows} == STEPS
    told = {(int(number), place) for number, _, places in rows for place in re.findall(r"`([a-z_.]+)`", places)}
    assert told == set(_marked())


def _marked():
    for module in (admission, progress, run):
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == module.__name__:
                for number in getattr(function, "lockgate_steps", ()):
                    yield number, f"{module.__name__.removeprefix('lockgate.')}.{name}"
