"""The job's plain tables say what the contract's dataclasses say, and its reader refuses what the codec refuses."""

from __future__ import annotations

import copy
import dataclasses
import types
import typing
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.contract import shapes
from lockgate.contract.codec import DocumentError, from_document
from lockgate.contract.grant import Grant, Permit
from lockgate.contract.jobchannel import JobInputs
from lockgate.contract.keyset import Keyset
from lockgate.contract.shapes import Map, Maybe, Shape
from lockgate.contract.work import InputsDocument

PAIRS = [
    (Keyset, shapes.KEYSET),
    (Grant, shapes.GRANT),
    (Permit, shapes.PERMIT),
    (JobInputs, shapes.JOB_INPUTS),
    (InputsDocument, shapes.INPUTS_DOCUMENT),
]


def told(kind: Any) -> Any:
    """What a type hint says, in words that can be compared."""
    origin, arms = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return ("maybe", told(next(arm for arm in arms if arm is not type(None))))
    if origin is tuple:
        return ("list", told(arms[0]))
    if origin is dict:
        return ("object",) if arms[1] is Any else ("map", told(arms[1]))
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return {field.name: told(hints[field.name]) for field in dataclasses.fields(kind)}
    if issubclass(kind, StrEnum):
        return ("one of", tuple(member.value for member in kind))
    return kind


def shown(kind: Any) -> Any:
    """The same of a table."""
    if isinstance(kind, Shape):
        return {name: shown(item) for name, item in kind.fields.items()}
    if isinstance(kind, Maybe):
        return ("maybe", shown(kind.kind))
    if isinstance(kind, Map):
        return ("map", shown(kind.kind))
    if isinstance(kind, list):
        return ("list", shown(kind[0]))
    if isinstance(kind, tuple):
        return ("one of", kind)
    return ("object",) if kind is dict else kind


@pytest.mark.parametrize(("kind", "shape"), PAIRS, ids=lambda item: getattr(item, "__name__", ""))
def test_a_table_says_what_its_dataclass_says(kind: Any, shape: Shape) -> None:
    assert shown(shape) == told(kind), f"contract/shapes.py must follow {kind.__name__}"


def sample(kind: Any) -> Any:
    """A document that both readers take."""
    if isinstance(kind, Shape):
        return {name: sample(item) for name, item in kind.fields.items()}
    if isinstance(kind, Maybe):
        return sample(kind.kind)
    if isinstance(kind, Map):
        return {"one": sample(kind.kind)}
    if isinstance(kind, list):
        return [sample(kind[0])]
    if isinstance(kind, tuple):
        return kind[0]
    return {int: 7, str: "text", bool: True, dict: {"any": [1]}}[kind]


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place of a document, itself included."""
    found = [path]
    if isinstance(document, dict):
        for name, item in document.items():
            found += places(item, (*path, name))
    elif isinstance(document, list):
        for index, item in enumerate(document):
            found += places(item, (*path, index))
    return found


ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.floats(0, 1), st.just("apply"), st.text(max_size=3),
    st.just([]), st.just({}), st.just(["x"]), st.just({"x": 1}),
)  # fmt: skip


@given(st.data())
def test_both_readers_come_to_the_same_verdict_on_a_spoilt_document(data: st.DataObject) -> None:
    kind, shape = data.draw(st.sampled_from(PAIRS))
    document = copy.deepcopy(sample(shape))
    path = data.draw(st.sampled_from(places(document)[1:]))
    holder = document
    for part in path[:-1]:
        holder = holder[part]
    how = data.draw(st.sampled_from(["change", "drop", "add"]))
    if how == "change":
        holder[path[-1]] = data.draw(ODD)
    elif how == "drop":
        del holder[path[-1]]
    elif isinstance(holder, dict):
        holder["surplus"] = 1
    try:
        expected: str | None = None
        from_document(kind, document)
    except DocumentError as error:
        expected = str(error)
    try:
        found: str | None = None
        shapes.read(shape, document)
    except DocumentError as error:
        found = str(error)
    assert found == expected


@pytest.mark.parametrize(("kind", "shape"), PAIRS, ids=lambda item: getattr(item, "__name__", ""))
def test_a_record_answers_as_its_dataclass(kind: Any, shape: Shape) -> None:
    document = sample(shape)
    known, record = from_document(kind, document), shapes.read(shape, document)
    assert alike(record, known)


def alike(record: Any, known: Any) -> bool:
    if dataclasses.is_dataclass(known):
        return all(
            alike(getattr(record, field.name), getattr(known, field.name)) for field in dataclasses.fields(known)
        )
    if isinstance(known, tuple):
        return len(record) == len(known) and all(map(alike, record, known))
    return bool(record == known)
