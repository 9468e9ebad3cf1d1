"""Documents are read strictly: every field, none unknown, nothing converted; the first fault is named by its path."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.contract.codec import DocumentError, from_document, to_document
from lockgate.gateway.operations.model import Operation
from lockgate.testing.records import operation


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True)
class Inner:
    number: int

    def __post_init__(self) -> None:
        if self.number < 0:
            raise ValueError("must not be negative")


@dataclass(frozen=True, slots=True)
class Outer:
    name: str
    ratio: float
    flag: bool
    colour: Colour
    maybe: Inner | None
    many: tuple[Inner, ...]
    table: dict[str, int]
    anything: Any


GOOD: dict[str, Any] = {
    "name": "x",
    "ratio": 1.5,
    "flag": True,
    "colour": "red",
    "maybe": {"number": 1},
    "many": [{"number": 2}],
    "table": {"a": 1},
    "anything": [None],
}
BAD: list[tuple[dict[str, Any], str]] = [
    ({"name": 1}, "name: must be str, not int"),
    ({"ratio": 1}, "ratio: must be float, not int"),
    ({"flag": 1}, "flag: must be bool, not int"),
    ({"colour": "green"}, "colour: must be one of red, blue"),
    ({"colour": ["red"]}, "colour: must be one of"),
    ({"maybe": {"number": True}}, "maybe.number: must be int, not bool"),
    ({"maybe": {"number": -1}}, "maybe: must not be negative"),
    ({"maybe": {}}, "maybe.number: is missing"),
    ({"maybe": []}, "maybe: must be an object"),
    ({"many": [{"number": 1}, {"number": "1"}]}, r"many[1].number: must be int, not str"),
    ({"many": {}}, "many: must be a list"),
    ({"table": {"a": None}}, "table.a: must be int, not NoneType"),
    ({"table": {1: 1}}, "table: must be an object"),
    ({"extra": 1}, "extra: is not known"),
]


def test_a_document_is_read_and_written_again() -> None:
    made = from_document(Outer, GOOD)
    assert made == Outer("x", 1.5, True, Colour.RED, Inner(1), (Inner(2),), {"a": 1}, [None])
    assert to_document(made) == GOOD


@pytest.mark.parametrize(("change", "message"), BAD, ids=[message for _, message in BAD])
def test_the_first_fault_is_named_by_its_path(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DocumentError) as caught:
        from_document(Outer, GOOD | change)
    assert str(caught.value).startswith(message)
    assert caught.value.field == message.partition(":")[0]
    with pytest.raises(DocumentError) as nested:
        from_document(Outer, GOOD | change, "body")
    assert str(nested.value).startswith(f"body.{message}")


@pytest.mark.parametrize("value", [None, [], "x", 1])
def test_what_is_no_object_is_refused(value: Any) -> None:
    with pytest.raises(DocumentError, match="document: must be an object"):
        from_document(Outer, value)


def test_every_missing_field_is_an_error() -> None:
    for name in GOOD:
        with pytest.raises(DocumentError, match=f"{name}: is missing"):
            from_document(Outer, {key: value for key, value in GOOD.items() if key != name})


def test_a_type_with_two_arms_can_be_none_and_nothing_else() -> None:
    @dataclass
    class Vague:
        value: int | str | None

    Vague.__annotations__["value"] = int | str | None
    assert from_document(Vague, {"value": None}).value is None
    with pytest.raises(DocumentError, match="ambiguous"):
        from_document(Vague, {"value": 1})


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(0, 2**53), st.booleans())
def test_orjson_writes_the_documents_the_codec_reads(message: str, version: int, dry_run: bool) -> None:
    """The store relies on it."""
    made = operation("op", message=message, version=version, dry_run=dry_run)
    assert orjson.loads(orjson.dumps(made)) == to_document(made)
    assert from_document(Operation, orjson.loads(orjson.dumps(made))) == made
