"""Rego's `sprintf`: Go's fmt.Sprintf over the values that Rego has. A verb it does not know as Go does is refused, never guessed."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

from lockgate.policy.builtins.values import Real, RegoObject, RegoSet, pairs

MAX_WIDTH: Final = 1_000
_VERB: Final = re.compile(r"%([-+# 0]*)([0-9]*)(?:(\.)([0-9]*))?(.)?", re.DOTALL)
_INT64: Final = 2**63
_BASES: Final = {"d": "d", "b": "b", "o": "o", "x": "x", "X": "X"}


@dataclass(frozen=True, slots=True)
class _Flags:
    minus: bool
    plus: bool
    sharp: bool
    space: bool
    zero: bool
    width: int
    precision: int | None

    @classmethod
    def of(cls, match: re.Match[str]) -> _Flags:
        flags, width, dot, precision, _ = match.groups()
        number = int(width or 0)
        most = int(precision or 0)
        if number > MAX_WIDTH or most > MAX_WIDTH:
            raise ValueError("width too large")
        zero = "0" in flags and "-" not in flags
        minus, plus, sharp, space = (flag in flags for flag in "-+# ")
        return cls(minus, plus, sharp, space, zero, number, most if dot else None)


def sprintf(template: Any, values: Any) -> str:
    """`values` is an array. Raises ValueError for what Go can and this cannot."""
    if not isinstance(template, str) or not isinstance(values, list) or isinstance(values, RegoSet | RegoObject):
        raise TypeError("sprintf takes a string and an array")
    used = 0
    out: list[str] = []
    at = 0
    for match in _VERB.finditer(template):
        out.append(template[at : match.start()])
        at = match.end()
        verb = match[5]
        if verb is None:
            out.append("%!(NOVERB)")
        elif verb in "[]*":
            raise ValueError("indexed and starred arguments are not offered")
        elif verb == "%":
            out.append("%")
        elif used >= len(values):
            out.append(f"%!{verb}(MISSING)")
        else:
            out.append(_formatted(verb, *_plus_of_v(verb, _argument(values[used]), _Flags.of(match))))
            used += 1
    out.append(template[at:])
    if used < len(values):
        extra = ", ".join(f"{_type(item)}={_plain(item)}" for item in map(_argument, values[used:]))
        out.append(f"%!(EXTRA {extra})")
    return "".join(out)


def _plus_of_v(verb: str, argument: Any, flags: _Flags) -> tuple[Any, _Flags]:
    """Of `%+v` the plus asks for field names, and only a big.Int takes it for a sign."""
    if verb == "v" and _type(argument) != "*big.Int":
        return argument, replace(flags, plus=False)
    return argument, flags


def _argument(value: Any) -> Any:
    """What OPA gives to Go: numbers and strings as they are, all else as Rego writes it."""
    if isinstance(value, Real) and math.isinf(value):
        return value.text
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return value
    return term(value)


def _type(argument: Any) -> str:
    if isinstance(argument, int):
        return "int64" if -_INT64 <= argument < _INT64 else "*big.Int"
    return "float64" if isinstance(argument, float) else "string"


def _plain(argument: Any) -> str:
    return _shortest(argument) if isinstance(argument, float) else str(argument)


def _formatted(verb: str, argument: Any, flags: _Flags) -> str:
    if isinstance(argument, str):
        return _string(verb, argument, flags)
    if isinstance(argument, int):
        return _integer(verb, argument, flags)
    return _real(verb, argument, flags)


def _bad(verb: str, argument: Any, flags: _Flags) -> str:
    """What Go writes for a verb that the argument has not: the flags still count."""
    return f"%!{verb}({_type(argument)}={_formatted('v', argument, flags)})"


def _string(verb: str, text: str, flags: _Flags) -> str:
    if verb not in "vsqxX":
        return _bad(verb, text, flags)
    if flags.sharp or (verb in "xX" and (flags.space or flags.precision is not None)):
        raise ValueError("this form of a string is not offered")
    if verb in "xX":
        digits = text.encode("utf-8").hex()
        return _padded(digits if verb == "x" else digits.upper(), flags)
    if flags.precision is not None:
        text = text[: flags.precision]
    if verb == "q":
        if flags.plus:
            raise ValueError("this form of a string is not offered")
        text = quoted(text)
    return _padded(text, flags)


def _integer(verb: str, number: int, flags: _Flags) -> str:
    small = -_INT64 <= number < _INT64
    if not small and verb not in "vsdboxX":
        return f"%!{verb}(big.Int={number})"
    if verb == "v" or (verb == "s" and not small):
        verb = "d"
    if verb == "c" and not (flags.precision is not None or flags.sharp):
        return _padded(chr(number) if 0 <= number < 0x110000 and not 0xD800 <= number < 0xE000 else "\ufffd", flags)
    if verb not in _BASES:
        if verb in "qUOc":
            raise ValueError("this form of a number is not offered")
        return _bad(verb, number, flags)
    if flags.sharp:
        raise ValueError("this form of a number is not offered")
    digits = format(abs(number), _BASES[verb])
    if flags.precision is not None:
        digits = "" if flags.precision == 0 and number == 0 else digits.rjust(flags.precision, "0")
    sign = "-" if number < 0 else "+" if flags.plus else " " if flags.space else ""
    if flags.zero and flags.precision is None:
        digits = digits.rjust(flags.width - len(sign), "0")
    return _padded(sign + digits, flags, zeros=False)


def _real(verb: str, number: float, flags: _Flags) -> str:
    if verb not in "vgGfFeE":
        if verb in "xXb":
            raise ValueError("this form of a number is not offered")
        return _bad(verb, number, flags)
    if flags.sharp:
        raise ValueError("this form of a number is not offered")
    body = _digits("g" if verb == "v" else verb, abs(number), flags.precision)
    negative = str(float(number))[0] == "-"
    sign = "-" if negative else "+" if flags.plus else " " if flags.space else ""
    if flags.zero:
        body = body.rjust(flags.width - len(sign), "0")
    return _padded(sign + body, flags, zeros=False)


def _digits(verb: str, number: float, precision: int | None) -> str:
    if verb in "gG" and precision is None:
        text = _shortest(number)
        return text.upper() if verb == "G" else text
    precise = 6 if precision is None else precision
    if verb in "fF":
        return format(number, f".{precise}f")
    if verb in "eE":
        return format(number, f".{precise}{verb}")
    return format(number, f".{precise or 1}{verb}")


def _shortest(number: float) -> str:
    """Go's %v of a float64: the shortest digits that read back, with an exponent below 1e-4 and from 1e6 on."""
    sign, digits, exponent = Decimal(repr(float(number))).normalize().as_tuple()
    text = "".join(map(str, digits))
    point = len(text) + int(exponent)
    minus = "-" if sign or str(float(number)).startswith("-") else ""
    if number == 0:
        return f"{minus}0"
    if not -4 <= point - 1 < 6:
        fraction = f".{text[1:]}" if len(text) > 1 else ""
        return f"{minus}{text[0]}{fraction}e{'-' if point <= 0 else '+'}{abs(point - 1):02d}"
    if point <= 0:
        return f"{minus}0.{'0' * -point}{text}"
    if point >= len(text):
        return minus + text + "0" * (point - len(text))
    return f"{minus}{text[:point]}.{text[point:]}"


def _padded(text: str, flags: _Flags, *, zeros: bool = True) -> str:
    if flags.minus:
        return text.ljust(flags.width)
    return text.rjust(flags.width, "0" if flags.zero and zeros else " ")


def term(value: Any) -> str:
    """A value as OPA prints it."""
    match value:
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case Real():
            return value.text
        case str():
            return quoted(value)
        case RegoSet():
            return "{" + ", ".join(term(member) for member in value) + "}" if value else "set()"
        case dict() | RegoObject():
            return "{" + ", ".join(f"{term(key)}: {term(item)}" for key, item in pairs(value)) + "}"
        case list():
            return "[" + ", ".join(term(item) for item in value) + "]"
    return str(value)


_ESCAPES: Final = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    "\\": "\\\\",
    '"': '\\"',
}


def quoted(text: str) -> str:
    """Go's strconv.Quote."""
    return '"' + "".join(_ESCAPES.get(char) or _printable(char) for char in text) + '"'


def _printable(char: str) -> str:
    if char.isprintable():
        return char
    number = ord(char)
    if number < 0x80:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
