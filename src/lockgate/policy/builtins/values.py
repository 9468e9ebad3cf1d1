"""Rego values as OPA's Wasm target writes them: JSON, and besides it sets and objects whose keys are no strings. It evaluates nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

_TOKEN: Final = re.compile(
    r'[ \t\n\r]*(?:(?P<string>"(?:[^"\\]|\\.)*")|(?P<number>-?[0-9.][0-9.eE+-]*)|(?P<word>true|false|null)|(?P<empty>set\(\))|(?P<mark>[\[\]{},:]))',
    re.DOTALL,
)
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
        super().__init__()
        for member in sorted(members, key=order):
            if not self or order(self[-1]) != order(member):
                self.append(member)

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
        tokens = _tokens(text.decode("utf-8"))
        value = _value(next(tokens, _NOTHING), tokens)
        if next(tokens, None) is not None:
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
    match value:
        case RegoSet() | list() if not isinstance(value, RegoObject):
            return [plain(member) for member in value]
        case dict() | RegoObject():
            return {_key(key): plain(item) for key, item in pairs(value)}
        case bool() | None | str():
            return value
        case int() if -(1 << 63) <= value < 1 << 64:
            return value
    return float(value)


def _key(key: Any) -> str:
    return key if isinstance(key, str) else _written(plain(key))


def order(value: Any) -> tuple[Any, ...]:
    """Rego's order over all values: null, booleans, numbers, strings, arrays, objects, sets; equal values compare equal."""
    match value:
        case None:
            return (0,)
        case bool():
            return (1, value)
        case int() | float():
            return (2, value)
        case str():
            return (3, value.encode("utf-8", "surrogatepass"))
        case RegoSet():
            return (6, tuple(order(member) for member in value))
        case dict() | RegoObject():
            return (5, tuple((order(key), order(item)) for key, item in pairs(value)))
    return (4, tuple(order(item) for item in value))


def pairs(value: dict[str, Any] | RegoObject) -> list[tuple[Any, Any]]:
    """Keys and values of an object, in Rego's order."""
    return value if isinstance(value, RegoObject) else sorted(value.items(), key=lambda pair: order(pair[0]))


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


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            if text[at:].strip(" \t\n\r"):
                raise ValueError("no term")
            return
        yield match.lastgroup, match[match.lastgroup]
        at = match.end()


def _value(token: tuple[str, str], tokens: Iterator[tuple[str, str]]) -> Any:
    match token:
        case ("mark", "["):
            return _items(tokens, "]")[0]
        case ("mark", "{"):
            items, keyed = _items(tokens, "}")
            if not keyed:
                return RegoSet(items) if items else {}
            return dict(items) if all(isinstance(key, str) for key, _ in items) else RegoObject(items)
        case ("empty", _):
            return RegoSet()
        case ("word", word):
            return _WORDS[word]
        case ("string", text):
            return json.loads(text)
        case ("number", text):
            # Rego also writes `.5`, as it was written in the policy.
            return int(text) if text.lstrip("-").isdigit() else Real(text)
    raise ValueError("no term")


def _items(tokens: Iterator[tuple[str, str]], end: str) -> tuple[list[Any], bool]:
    """Items up to `end`, and whether they are key and value."""
    items: list[Any] = []
    keyed = False
    token = next(tokens, _NOTHING)
    while token != ("mark", end):
        value = _value(token, tokens)
        token = next(tokens, _NOTHING)
        if token == ("mark", ":") and end == "}":
            keyed, value = True, (value, _value(next(tokens, _NOTHING), tokens))
            token = next(tokens, _NOTHING)
        items.append(value)
        if keyed != isinstance(items[0], tuple) or keyed != isinstance(value, tuple):
            raise ValueError("no term")
        if token == ("mark", ","):
            token = next(tokens, _NOTHING)
        elif token != ("mark", end):
            raise ValueError("no term")
    return items, keyed


_NOTHING: Final = ("", "")
