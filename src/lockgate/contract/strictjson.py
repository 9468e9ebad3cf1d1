"""Reads JSON the way a gate must: one meaning or none. It must not accept what two readers could read differently."""

from __future__ import annotations

import json
import re
from typing import Any

MAX_SAFE_INTEGER = 2**53 - 1
"""RFC 8785 numbers are IEEE 754 doubles; a larger integer would change its value on the way."""

MAX_DEPTH = 32


class StrictJSONError(ValueError):
    """The text is not JSON that every reader reads alike; `field` is a JSON pointer, or empty for the whole document."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


def loads(data: bytes, *, max_bytes: int = 1 << 20, max_depth: int = MAX_DEPTH) -> Any:
    """Parse `data` (UTF-8); refuses duplicate keys, NaN and infinities, integers over 2**53-1, lone surrogates, deep nesting.

    Raises StrictJSONError. The depth is counted on the bytes first, so that the parser's recursion is bounded too.
    """
    if len(data) > max_bytes:
        raise StrictJSONError(f"document is {len(data)} bytes; at most {max_bytes} are read")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise StrictJSONError(f"not UTF-8 at byte {error.start}") from None
    _check_depth(text, max_depth)
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise StrictJSONError(f"not JSON: {error.msg} at line {error.lineno} column {error.colno}") from None
    except RecursionError:
        raise StrictJSONError(f"nested deeper than {max_depth} levels") from None
    if "\\u" in text or "\\U" in text:
        _check_surrogates(value)
    return value


def _check_depth(text: str, limit: int) -> None:
    """Nested at most `limit` deep. In C speed however large the text: this runs on every body, before anything else bounds its cost."""
    if text.count("[") + text.count("{") <= limit:
        return
    brackets = _STRING.sub("", text).encode("utf-8", "replace").translate(_ONE_KIND, _NO_BRACKET)
    for _ in range(limit):
        # Each turn takes away the innermost level.
        brackets = brackets.replace(b"[]", b"")
    # What is left is deeper, or opens more than it closes, which is no JSON: then the parser's recursion must be bounded all the same.
    if b"[]" in brackets or brackets.count(b"[") > limit:
        raise StrictJSONError(f"nested deeper than {limit} levels")


# A string that never ends takes the rest with it, so that no text is looked at twice.
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)', re.DOTALL)
_ONE_KIND = bytes.maketrans(b"{}", b"[]")
_NO_BRACKET = bytes(byte for byte in range(256) if byte not in b"[]{}")


def _check_surrogates(value: Any) -> None:
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            try:
                item.encode("utf-8")
            except UnicodeEncodeError:
                raise StrictJSONError("a string holds a lone surrogate, which is not Unicode text") from None
        elif isinstance(item, dict):
            stack.extend(item.keys())
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise StrictJSONError(f"the key {key[:64]!r} stands twice in one object", f"/{key[:64]}")
            seen.add(key)
    return result


def _integer(text: str) -> int:
    if len(text) > 17 or abs(int(text)) > MAX_SAFE_INTEGER:
        raise StrictJSONError(f"the number {text[:32]} is outside ±(2**53-1)")
    return int(text)


def _float(text: str) -> float:
    number = float(text) if len(text) <= 64 else float("inf")
    if number in (float("inf"), float("-inf")):
        raise StrictJSONError(f"the number {text[:32]} is not a finite double")
    return number


def _constant(text: str) -> Any:
    raise StrictJSONError(f"{text} is not JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_pairs, parse_int=_integer, parse_float=_float, parse_constant=_constant, strict=True
)
