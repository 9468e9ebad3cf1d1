"""Takes values that a record must not hold out of what policy said of them: texts, and numbers also inside texts; pure. What was computed of a value it cannot know."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from lockgate.contract.redaction import MASK, Redactor

_NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d{1,3})?")
_MOST_DIGITS: Final = 400
"""Longer runs of digits are no number that JSON gives to policy."""


class Repeats:
    """Knows the values that were masked. Booleans are not looked for: every answer is full of them."""

    def __init__(self, values: Iterable[str | int | float]) -> None:
        known = list(values)
        texts = [value for value in known if isinstance(value, str)]
        self._redactor = Redactor(texts)
        self._texts = frozenset(texts)  # those too short to be looked for inside others are still found whole
        numbers = {value for value in known if not isinstance(value, str)}
        # A rule may have read a number out of a text: it is as much a repeat of it.
        self._numbers = frozenset(numbers | {_spelt(text) for text in texts if _is_number(text)})

    def out_of(self, value: Any) -> Any:
        """A JSON value with a mask in place of every known one, keys included."""
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return MASK if value in self._numbers else value
        if isinstance(value, Mapping):
            return {self._text(str(key)): self.out_of(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.out_of(item) for item in value]
        return value

    def _text(self, text: str) -> str:
        if text in self._texts:
            return MASK
        text = self._redactor.text(text)
        return _NUMBER.sub(self._number, text) if self._numbers else text

    def _number(self, found: re.Match[str]) -> str:
        said = found[0]
        if len(said) > _MOST_DIGITS:
            return said
        if self._is_known(said):
            return MASK
        # `10.0.1.5432`: what stands on both sides of a point may be two numbers.
        return ".".join(MASK if self._is_known(part) else part for part in said.split(".")) if "." in said else said

    def _is_known(self, said: str) -> bool:
        spelt = _spelt(said)
        # `8080-8081` and `v-3`: what stands before a number is not always its sign.
        return spelt in self._numbers or abs(spelt) in self._numbers


def _is_number(text: str) -> bool:
    return len(text) <= _MOST_DIGITS and _NUMBER.fullmatch(text) is not None


def _spelt(number: str) -> int | float:
    return int(number) if number.lstrip("-").isdigit() else float(number)
