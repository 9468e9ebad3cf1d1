"""Text that two readers could read differently is refused, whatever its size."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.contract.strictjson import MAX_DEPTH, MAX_SAFE_INTEGER, StrictJSONError, loads

REFUSED = [
    (b"", "not JSON"),
    (b"{", "not JSON"),
    (b"{'a':1}", "not JSON"),
    (b'{"a":1,}', "not JSON"),
    (b"1 2", "not JSON"),
    (b"// x\n1", "not JSON"),
    (b'"a\nb"', "not JSON"),
    (b"\xef\xbb\xbf{}", "not JSON"),
    (b'"\xff"', "not UTF-8 at byte 1"),
    (b'"\xed\xa0\x80"', "not UTF-8"),
    (b'{"a":1,"a":1}', "'a' stands twice"),
    (b'[{"b":{"c":1,"\\u0063":2}}]', "'c' stands twice"),
    (b"NaN", "NaN is not JSON"),
    (b"[-Infinity]", "Infinity is not JSON"),
    (b"1e999", "not a finite double"),
    (b"1" + b"0" * 17, "outside"),
    (str(MAX_SAFE_INTEGER + 1).encode(), "outside"),
    (b"9" * 10_000, "outside"),
    (b"0." + b"1" * 10_000, "not a finite double"),
    (b'"\\ud800"', "lone surrogate"),
    (b'{"\\udc00":1}', "lone surrogate"),
    (b"[" * 33 + b"]" * 33, "deeper than 32"),
    (b'{"a":' * 40 + b"1" + b"}" * 40, "deeper than 32"),
    (b"[" * 500_000, "deeper than 32"),
]


@pytest.mark.parametrize(("data", "message"), REFUSED, ids=range(len(REFUSED)))
def test_it_is_refused_with_a_reason(data: bytes, message: str) -> None:
    with pytest.raises(StrictJSONError, match=message):
        loads(data)


def test_ten_megabytes_of_one_letter_are_refused_by_size_unread() -> None:
    for letter in (b"a", b"[", b'"', b"\\", b"{", b"1", b" ", b"\xff"):
        with pytest.raises(StrictJSONError, match="10485760 bytes; at most 1048576"):
            loads(letter * (10 << 20))


@pytest.mark.parametrize("letter", [b"a", b"[", b"{", b" ", b"1", b"-", b'"', b"\\", b"[]", b'"[', b'\\"'])
def test_ten_megabytes_of_one_letter_are_read_in_one_pass_where_allowed(letter: bytes) -> None:
    """Quadratic reading of 10 MB would never end, so that this ends is the test."""
    with pytest.raises(StrictJSONError):
        loads(letter * ((10 << 20) // len(letter)), max_bytes=11 << 20)
    inside = json.dumps((letter * (1 << 19)).decode()).encode()
    assert loads(inside, max_bytes=11 << 20) == json.loads(inside)


def test_the_deepest_and_the_greatest_that_are_allowed_pass() -> None:
    assert loads(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH) is not None
    assert loads(str(MAX_SAFE_INTEGER).encode()) == MAX_SAFE_INTEGER
    assert loads(b'"' + b"[" * 100 + b'"') == "[" * 100
    assert loads(b'["\\"[[[[", "]", "\\\\"]' + b" " * 50) == ['"[[[[', "]", "\\"]
    assert loads(b'"\\ud83d\\ude00"') == "\U0001f600"


def test_many_brackets_side_by_side_are_not_deep() -> None:
    assert loads(b"[" + b"[]," * 1000 + b"[]]") == [[]] * 1001


numbers = st.integers(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
    max_leaves=15,
)


@given(values)
def test_it_reads_what_it_accepts_as_the_standard_library_does(value: Any) -> None:
    data = json.dumps(value).encode()
    assert loads(data, max_depth=100) == json.loads(data)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_and_nothing_else(data: bytes) -> None:
    try:
        value = loads(data)
    except StrictJSONError:
        return
    assert value == json.loads(data)
