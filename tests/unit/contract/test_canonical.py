"""Canonical JSON equals the rfc8785 reference byte for byte, by whichever encoder it was made."""

import json
from typing import Any

import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from lockgate.contract.canonical import CanonicalError, canonical, digest, sha256
from lockgate.contract.strictjson import MAX_SAFE_INTEGER

text = st.text(st.characters(exclude_categories=["Cs"]))
integers = st.integers(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER)
floats = st.floats(allow_nan=False, allow_infinity=False).filter(lambda number: not 2**53 <= abs(number) < 1e21)
leaves = st.none() | st.booleans() | integers | text | floats
values = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(text, inner), max_leaves=20)


@given(values)
@example({"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\u0080": 6, "\u00f6": 7})
@example({"a\u007f\u2028": '\u0000\u001f"\\/\b\f\n\r\t\u007f\u2028'})
@example([333333333.33333329, 1e30, 4.5, 2e-3, 1e-27, -0.0, 1.0])
def test_it_writes_what_the_reference_writes(value: Any) -> None:
    assert canonical(value) == rfc8785.dumps(value)


@given(values)
def test_it_survives_being_read_and_written_again(value: Any) -> None:
    assert canonical(json.loads(canonical(value))) == canonical(value)


class Text(str):
    """A subclass must not slip past with an encoding of its own."""

    __slots__ = ()


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        2.0**53,
        [-1e20],
        MAX_SAFE_INTEGER + 1,
        -MAX_SAFE_INTEGER - 1,
        "\ud800",
        {"\udfff": 1},
        {1: 2},
        {None: 2},
        {"a": object()},
        b"bytes",
        {"a": {1, 2}},
    ],
)
def test_what_has_no_canonical_form_is_refused(value: Any) -> None:
    with pytest.raises(CanonicalError):
        canonical(value)


def test_a_value_within_itself_is_refused() -> None:
    looped: dict[str, Any] = {}
    looped["a"] = [1.5, looped]
    with pytest.raises(CanonicalError):
        canonical(looped)


def test_a_digest_names_its_algorithm() -> None:
    assert digest({}) == sha256(b"{}") == "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert canonical({"b": Text("x"), "a": (1, 2)}) == b'{"a":[1,2],"b":"x"}'
