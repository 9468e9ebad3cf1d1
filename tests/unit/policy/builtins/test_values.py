"""Terms of the Wasm target are read as they are written, whatever is in them; what is none is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.policy.builtins.values import RegoObject, RegoSet, order, plain, read, write


def _object(pairs: list[tuple[Any, Any]]) -> Any:
    """An object as the target makes it: each key once, and a dict where all of them are texts."""
    by_order = {order(key): (key, item) for key, item in pairs}
    if all(isinstance(key, str) for key, _ in by_order.values()):
        return dict(by_order.values())
    return RegoObject(by_order.values())


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ["set()", '"', "\\", '{"a"}', "}", "a: b", ",", "\u2028"]
)
ATOMS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | TEXTS
VALUES = st.recursive(
    ATOMS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(RegoSet)
        | st.dictionaries(TEXTS, inner, max_size=4)
        | st.lists(st.tuples(inner, inner), min_size=1, max_size=3).map(_object)
    ),
    max_leaves=20,
)


@given(VALUES)
def test_a_term_is_read_as_it_was_written(value: Any) -> None:
    assert order(read(write(value))) == order(value)


@given(VALUES)
def test_spaces_and_a_last_comma_change_nothing(value: Any) -> None:
    text, inside, at = write(value).decode(), False, 0
    spaced = ""
    while at < len(text):
        mark = text[at]
        if inside and mark == "\\":
            spaced, at = spaced + text[at : at + 2], at + 2
            continue
        inside ^= mark == '"'
        begins = not inside and mark in "[{"
        ends = not inside and mark in "]}" and text[at - 1] not in "[{"
        spaced += (
            f" ,\n{mark} " if ends else f"{mark}\t" if begins else f" {mark} " if not inside and mark in ",:" else mark
        )
        at += 1
    assert order(read(spaced.encode())) == order(value)


@given(st.lists(VALUES, max_size=6))
def test_a_set_has_each_member_once_and_in_order_however_it_was_made(members: list[Any]) -> None:
    made, again = RegoSet(members), RegoSet(reversed(members))
    keys = [order(member) for member in made]
    assert keys == sorted(keys) == [order(member) for member in again]
    assert len(set(keys)) == len(keys) and set(keys) == {order(member) for member in members}


@given(VALUES)
def test_what_opa_makes_of_it_is_json(value: Any) -> None:
    json.dumps(plain(value), allow_nan=False)


def test_members_of_a_set_are_in_regos_order_of_kinds() -> None:
    text = b'{set(), {"a": 1}, [2], "b", "a", 2, 1.5, true, null, {"x"}}'
    assert plain(read(text)) == [None, True, 1.5, 2, "a", "b", [2], {"a": 1}, [], ["x"]]


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[", "[1", "{1", '{"a":', '{"a":1', '{"a":1,2}', "{1,2:3}", "{1:2,3}", "[1:2]", "{,}", "[,]", "{1,,2}", "[1 2]", "{1 2}", "{1]", "[1}",
        "1 2", "set(", "set() 1", "tru", "nul", "--1", "1-2", ".", '"a', '"\\x"', '{"a"', '{"a" "b"}', "{{}", "'a'", '{"a":1:2}',
    ],
)  # fmt: skip
def test_what_is_no_term_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        read(text.encode())
