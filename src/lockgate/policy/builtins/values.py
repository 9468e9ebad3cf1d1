"""Rego values as OPA's Wasm target writes them: JSON, and besides it sets and objects whose keys are no strings. It evaluates nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from json.decoder import scanstring  # type: ignore[attr-defined]
from operator import itemgetter
from typing import Any, Final

_ATOM: Final = re.compile(r"(?P<number>-?[0-9.][0-9.eE+-]*)|(?P<word>true|false|null)|(?P<empty>set\(\))").match
_SPACE: Final = re.compile(r"[ \t\n\r]*").match
_MARKS: Final = frozenset("]},:")
_SPACES: Final = frozenset(" \t\n\r")
_WORDS: Final = {"true": True, "false": False, "null": None}


class Real(float):
    """A number that is not written as an integer; `text` is how it is written, which is what Rego prints."""

    text: str

    def __new__(cls, text: str) -> Real:
        number = super().__new__(cls, text)
        number.text = text
        return number


class RegoSet(list[Any]):
    """A set, its members in Rego's order and each once."""

    def __init__(self, members: Iterable[Any] = ()) -> None:
        given = list(members)
        if all(type(member) is str for member in given):
            super().__init__(sorted(set(given)))
            return
        keyed = sorted([(order(member), member) for member in given], key=itemgetter(0))
        super().__init__(
            member for index, (key, member) in enumerate(keyed) if index == 0 or key != keyed[index - 1][0]
        )

    def __contains__(self, value: Any) -> bool:
        wanted = order(value)
        return any(order(member) == wanted for member in self)


class RegoObject(list[tuple[Any, Any]]):
    """An object with a key that is no string, as (key, value) in Rego's order."""

    def __init__(self, pairs: Iterable[tuple[Any, Any]]) -> None:
        super().__init__(sorted(pairs, key=lambda pair: order(pair[0])))


def read(text: bytes) -> Any:
    """The value of a term. Raises ValueError for what is none, RecursionError for one nested too deeply."""
    try:
        return json.loads(text, parse_float=Real)
    except json.JSONDecodeError:
        term = text.decode("utf-8")
        value, end = _term(term, _after_space(term, 0))
        if _after_space(term, end) != len(term):
            raise ValueError("more than one term") from None
        return value


def write(value: Any) -> bytes:
    """The term of a value: JSON, with sets and objects as Rego writes them."""
    return _written(value).encode("utf-8")


def is_json(value: Any) -> bool:
    """Whether JSON says it all: no set, no key that is no string."""
    match value:
        case RegoSet() | RegoObject():
            return False
        case dict():
            return all(is_json(item) for item in value.values())
        case list():
            return all(is_json(item) for item in value)
    return True


def plain(value: Any) -> Any:
    """The JSON that OPA makes of a value: a set is its members in order, a key that is no string is the text of its JSON."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return value
    if kind is dict:
        return {key: plain(item) for key, item in value.items()}
    if kind is RegoObject:
        return {_key(key): plain(item) for key, item in value}
    if kind is RegoSet or kind is list:
        return [plain(member) for member in value]
    if kind is int and -(1 << 63) <= value < 1 << 64:
        return value
    return float(value)


def _key(key: Any) -> str:
    return key if isinstance(key, str) else _written(plain(key))


def order(value: Any) -> tuple[Any, ...]:
    """Rego's order over all values: null, booleans, numbers, strings, arrays, objects, sets; equal values compare equal."""
    kind = type(value)
    if kind is str:
        return (3, value)  # the order of code points is that of UTF-8
    if value is None:
        return (0,)
    if kind is bool:
        return (1, value)
    if kind is dict or kind is RegoObject:
        return (5, tuple([(order(key), order(item)) for key, item in pairs(value)]))
    if kind is list or kind is tuple:
        return (4, tuple([order(item) for item in value]))
    if kind is RegoSet:
        return (6, tuple([order(member) for member in value]))
    return (2, value)


def pairs(value: dict[str, Any] | RegoObject) -> list[tuple[Any, Any]]:
    """Keys and values of an object, in Rego's order."""
    return value if isinstance(value, RegoObject) else sorted(value.items(), key=itemgetter(0))


def _written(value: Any) -> str:
    match value:
        case RegoSet():
            return "{" + ",".join(_written(member) for member in value) + "}" if value else "set()"
        case dict() | RegoObject():
            return "{" + ",".join(f"{_written(key)}:{_written(item)}" for key, item in pairs(value)) + "}"
        case list():
            return "[" + ",".join(_written(item) for item in value) + "]"
        case Real():
            return value.text
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


# --- reading: each function is given where something begins, and answers with it and where it ends ------------------------------


def _term(text: str, at: int) -> tuple[Any, int]:
    first = text[at : at + 1]
    if first == '"':
        string, end = scanstring(text, at + 1, True)
        return string, end
    if first == "{":
        return _braces(text, _after_space(text, at + 1))
    if first == "[":
        return _array(text, _after_space(text, at + 1))
    atom = _ATOM(text, at)
    if atom is None:
        raise ValueError("no term")
    word = atom[0]
    if atom.lastgroup == "word":
        return _WORDS[word], atom.end()
    if atom.lastgroup == "empty":
        return RegoSet(), atom.end()
    # Rego also writes `.5`, as it was written in the policy.
    return int(word) if word.lstrip("-").isdigit() else Real(word), atom.end()


def _array(text: str, at: int) -> tuple[list[Any], int]:
    items: list[Any] = []
    mark = ","
    while mark == ",":
        if text[at : at + 1] == "]":  # empty, or a comma after the last one, as people write
            return items, at + 1
        item, at = _term(text, at)
        items.append(item)
        mark, at = _mark(text, at)
    if mark != "]":
        raise ValueError("no term")
    return items, at


def _braces(text: str, at: int) -> tuple[Any, int]:
    """An object, or a set: what its first member is followed by says which."""
    keys: list[Any] = []
    values: list[Any] = []
    mark = ","
    while mark == ",":
        if text[at : at + 1] == "}":
            mark, at = "}", at + 1
            break
        key, at = _term(text, at)
        keys.append(key)
        mark, at = _mark(text, at)
        if mark == ":":
            value, at = _term(text, at)
            values.append(value)
            mark, at = _mark(text, at)
        if len(values) not in (0, len(keys)):
            raise ValueError("no term")
    if mark != "}":
        raise ValueError("no term")
    if keys and not values:
        return RegoSet(keys), at
    if all(type(key) is str for key in keys):
        return dict(zip(keys, values, strict=True)), at
    return RegoObject(zip(keys, values, strict=True)), at


def _mark(text: str, at: int) -> tuple[str, int]:
    """The mark after a term, and where the next term begins."""
    mark = text[at : at + 1]
    if mark not in _MARKS:
        at = _after_space(text, at)
        mark = text[at : at + 1]
        if mark not in _MARKS:
            raise ValueError("no term")
    return mark, _after_space(text, at + 1)


def _after_space(text: str, at: int) -> int:
    if text[at : at + 1] not in _SPACES:
        return at
    found = _SPACE(text, at)
    return at if found is None else found.end()
