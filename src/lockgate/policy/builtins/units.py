"""Built-ins of Rego about amounts and versions: `units.`, `semver.`, `numbers.range_step`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction
from typing import Any, Final

from lockgate.policy.builtins.values import Real

MAX_RANGE: Final = 100_000
_LETTERS: Final = "kmgtpe"
_AMOUNT: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_NUMBER: Final = re.compile(r"(?:[0-9.+-]|[eE](?=[0-9+-]))*", re.ASCII)
_EXPONENT: Final = 6


def _split(text: str) -> tuple[Fraction, str]:
    """Amount and unit. Raises ValueError."""
    if " " in text:
        raise ValueError("spaces")
    number = _NUMBER.match(text)
    amount = number[0] if number else ""
    if not _AMOUNT.fullmatch(amount):
        raise ValueError("no amount")
    exponent = re.split("[eE]", amount)[1:]
    if exponent and len(exponent[0].lstrip("+-")) > _EXPONENT - 2:
        raise ValueError("exponent too large")
    return Fraction(amount), text[len(amount) :]


def _parse(text: str) -> int | Real:
    """`m` is a thousandth and `M` a million; of longer units only the first letter's case counts."""
    amount, unit = _split(text.replace('"', ""))
    unit = unit[:1] + unit[1:].lower()
    if unit == "m":
        value = amount * Fraction(0.001)
    elif unit == "":
        value = amount
    elif unit[0].lower() in _LETTERS and unit[1:] in ("", "i"):
        value = amount * (1024 if unit[1:] else 1000) ** (_LETTERS.index(unit[0].lower()) + 1)
    else:
        raise ValueError("unit not recognized")
    if value.denominator == 1:
        return value.numerator
    with localcontext(prec=400):
        exact = Decimal(value.numerator) / Decimal(value.denominator)
        return Real(str(exact.quantize(Decimal("1e-10"), rounding=ROUND_HALF_UP)))


def _parse_bytes(text: str) -> int:
    amount, unit = _split(text.lower().replace('"', ""))
    unit = unit.removesuffix("b") if unit != "b" else unit
    if unit == "":
        factor = 1
    elif unit[0] in _LETTERS and unit[1:] in ("", "i"):
        factor = (1024 if unit[1:] else 1000) ** (_LETTERS.index(unit[0]) + 1)
    else:
        raise ValueError("unit not recognized")
    return int(_rounded(_rounded(amount) * factor))


def _rounded(value: Fraction) -> Fraction:
    """To the 64 bits of mantissa that Go computes with here, half to even."""
    if value == 0:
        return value
    scale = 64 - (abs(value.numerator).bit_length() - value.denominator.bit_length())
    for shift in (scale, scale - 1, scale + 1):
        shifted = value * Fraction(2) ** shift
        if 2**63 <= abs(shifted) < 2**64:
            return Fraction(round(shifted)) / Fraction(2) ** shift
    raise ArithmeticError("no such number")


_VERSION: Final = re.compile(
    r"v?(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?",
    re.ASCII,
)


def _version(text: str) -> tuple[Any, ...]:
    """What orders versions. Raises ValueError."""
    match = _VERSION.fullmatch(text)
    if match is None or any(int(part) >= 2**63 for part in match.groups()[:3]):
        raise ValueError("no semantic version")
    before = match[4]
    identifiers = before.split(".") if before is not None else []
    if any(len(name) > 1 and name[0] == "0" and name.isdigit() for name in identifiers):
        raise ValueError("no semantic version")
    ordered = tuple((0, int(name), "") if name.isdigit() else (1, 0, name) for name in identifiers)
    return (*(int(part) for part in match.groups()[:3]), before is None, ordered)


def _compare(one: str, other: str) -> int:
    first, second = _version(one), _version(other)
    return (first > second) - (first < second)


def _is_valid(text: Any) -> bool:
    try:
        _version(text)
    except (ValueError, TypeError):
        return False
    return True


def _whole(number: Any) -> int:
    if isinstance(number, bool) or not isinstance(number, int | float) or number != int(number):
        raise ValueError("no whole number")
    return int(number)


def _range_step(start: Any, end: Any, step: Any) -> list[int]:
    start, end, step = (_whole(number) for number in (start, end, step))
    if step <= 0:
        raise ValueError("step must be positive")
    numbers = range(start, end + 1, step) if start <= end else range(start, end - 1, -step)
    if len(numbers) > MAX_RANGE:
        raise OverflowError("too many numbers")
    return list(numbers)


UNITS: Final[Mapping[str, Callable[..., Any]]] = {
    "units.parse": _parse,
    "units.parse_bytes": _parse_bytes,
    "semver.compare": _compare,
    "semver.is_valid": _is_valid,
    "numbers.range_step": _range_step,
}
