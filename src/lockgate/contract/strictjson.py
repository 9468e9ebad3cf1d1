"""Reads JSON the way a gate must: one meaning or none. It must not accept what two readers could read differently.

The job reads with it before `ready`, so it stands on the scanner that `json` itself is made of: the package around it, and the regular
expressions and enums that brings, cost a job as much as the interpreter does.
"""

from __future__ import annotations

from _json import make_scanner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Pairs = Callable[[list[tuple[str, Any]]], Any]
    Parse = Callable[[str], Any]

MAX_SAFE_INTEGER = 2**53 - 1
"""RFC 8785 numbers are IEEE 754 doubles; a larger integer would change its value on the way."""

MAX_DEPTH = 32
_SPACE = " \t\n\r"


class StrictJSONError(ValueError):
    """The text is not JSON that every reader reads alike; `field` is a JSON pointer, or empty for the whole document."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class NotJSON(ValueError):
    """The text is no JSON value, or more than one; `msg`, `lineno` and `colno` as those of `json.JSONDecodeError`."""

    def __init__(self, msg: str, text: str, at: int) -> None:
        super().__init__(msg)
        self.msg = msg
        self.lineno = text.count("\n", 0, at) + 1
        self.colno = at - text.rfind("\n", 0, at)


class _Rules:
    """What the scanner asks its context for."""

    strict = True
    object_hook = None

    def __init__(self, pairs: Pairs, integer: Parse, real: Parse, constant: Parse) -> None:
        self.object_pairs_hook = pairs
        self.parse_int = integer
        self.parse_float = real
        self.parse_constant = constant


def decoder(pairs: Pairs, integer: Parse, real: Parse, constant: Parse) -> Parse:
    """A function that reads exactly one JSON value: as `json.JSONDecoder(strict=True, …).decode` with these hooks.

    It raises what the hooks raise, NotJSON, `json.JSONDecodeError`, and RecursionError.
    """
    rules: Any = _Rules(pairs, integer, real, constant)
    scan = make_scanner(rules)

    def decode(text: str) -> Any:
        start = len(text) - len(text.lstrip(_SPACE))
        try:
            value, end = scan(text, start)
        except StopIteration as stop:
            raise NotJSON("Expecting value", text, stop.value) from None
        if end != len(text) and text[end:].strip(_SPACE):
            raise NotJSON("Extra data", text, end)
        return value

    return decode


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
        value = _decode(text)
    except StrictJSONError:
        raise
    except ValueError as error:
        raise StrictJSONError(_where(error)) from None
    except RecursionError:
        raise StrictJSONError(f"nested deeper than {max_depth} levels") from None
    if "\\u" in text or "\\U" in text:
        _check_surrogates(value)
    return value


def _where(error: ValueError) -> str:
    """NotJSON and json.JSONDecodeError say the same; nothing else comes out of the scanner."""
    message, line, column = (getattr(error, name, "?") for name in ("msg", "lineno", "colno"))
    return f"not JSON: {message} at line {line} column {column}"


def _check_depth(text: str, limit: int) -> None:
    """Nested at most `limit` deep. In C speed however large the text: this runs on every body, before anything else bounds its cost."""
    if text.count("[") + text.count("{") <= limit:
        return
    import re

    # A string that never ends takes the rest with it, so that no text is looked at twice. (`re` keeps what it has compiled.)
    unquoted = re.sub(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)', "", text, flags=re.DOTALL)
    brackets = unquoted.encode("utf-8", "replace").translate(_ONE_KIND, _NO_BRACKET)
    for _ in range(limit):
        # Each turn takes away the innermost level.
        brackets = brackets.replace(b"[]", b"")
    # What is left is deeper, or opens more than it closes, which is no JSON: then the parser's recursion must be bounded all the same.
    if b"[]" in brackets or brackets.count(b"[") > limit:
        raise StrictJSONError(f"nested deeper than {limit} levels")


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


_decode = decoder(_pairs, _integer, _float, _constant)
