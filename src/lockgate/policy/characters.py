"""Refuses half a character that a JSON text inside policy input writes as an escape: OPA and its Wasm read it differently. It reads no text as JSON itself.

A text such as `{"a": "\\ud800"}` is fine as text. A rule that reads it as JSON gets U+FFFD from OPA, while the Wasm traps (ADR 26). Whether a rule will, nobody
knows before; so no input holds one, however often a text is wrapped in another.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from lockgate.policy.schemas import DocumentRefused, dotted

_HALF: Final = re.compile(rb"\\\\u[dD]([89a-fA-F])[0-9a-fA-F]{2}")
"""A surrogate's escape as it stands in encoded input, where each backslash of a text is two. One repeat only: MUST stay linear in a run of backslashes."""

_BACKSLASH: Final = ord("\\")

_WRITTEN: Final = re.compile(rb"\\u00(?:3[0-9]|4[1-6]|5[cC]|6[1-6]|75)")
"""An escape that writes a character escapes are made of: read as JSON, a text may hold escapes that nobody saw in it before."""

_ESCAPE: Final = re.compile(rb"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_MOST_READ: Final = 8
"""How often a text is read as JSON, one time inside the other, before what it still writes by escapes is refused: each reading costs a pass."""


def require_whole_characters(document: Mapping[str, Any], encoded: bytes) -> None:
    """`encoded` is the document as it is evaluated. Raises DocumentRefused, naming the field; it costs one substring search where nothing is escaped."""
    if rb"\\u" in encoded and not _are_whole_read_again(encoded):
        where = next((path for path, text in _texts(document, []) if not _are_whole_read_again(orjson.dumps(text))), [])
        raise DocumentRefused(
            dotted(where)[:200],
            r"holds half a character, written as \ud800 to \udfff in JSON: policy engines read it differently. Write the whole character, or leave it out",
        )


def _are_whole_read_again(encoded: bytes) -> bool:
    """`are_whole`, also of the texts that rules get by reading it as JSON again and again, where it writes escapes by escapes (`\\u005cud800`)."""
    if not are_whole(encoded):
        return False
    text = encoded
    for _ in range(_MOST_READ):
        if _WRITTEN.search(text) is None:
            return True
        text = _ESCAPE.sub(_read, text)
        if not are_whole(text.replace(b"\\", rb"\\")):
            return False
    return False


def _read(escape: re.Match[bytes]) -> bytes:
    """What an escape stands for, as far as escapes may be made of it."""
    written, alone = escape.groups()
    if written is None:
        return bytes(alone) if alone == b"\\" else b" "
    code = int(written, 16)
    return bytes([code]) if code < 0x80 else b"?"


def are_whole(encoded: bytes) -> bool:
    """Whether each first half is followed at once, and as deeply escaped, by a second one, and none of these stands alone.

    Of a run of backslashes before a `u` the escape takes 1 in a JSON text, 2 in one inside another, 4 inside that, and so on: as many as the lowest
    bit of their number says. Those before it stand for backslashes.
    """
    waiting: tuple[int, int] | None = None
    for found in _HALF.finditer(encoded):
        start = found.start() + 2
        while encoded[start - 1] == _BACKSLASH:
            start -= 1
        run = found.start() + 2 - start
        if found[1] in b"89abAB":
            if waiting is not None:
                return False
            waiting = found.end(), run & -run
        elif waiting != (start, run):
            return False
        else:
            waiting = None
    return waiting is None


def _texts(value: Any, path: list[str | int]) -> Iterator[tuple[list[str | int], str]]:
    """Every text of a document, keys included, with where it stands."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield [*path, key], key
            yield from _texts(item, [*path, key])
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _texts(item, [*path, index])
