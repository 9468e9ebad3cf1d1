"""Masks the known secrets of a run in text and documents, in time linear in the text; it must not be the only guard of a secret.

A secret is looked for as it is, and as tools spell it: URL, HTML and JSON escapes, base64, hexadecimal. The last two also where a tool has wrapped or
separated them, or written hexadecimal in capitals. What is not found: a secret that was split, encrypted, compressed, turned round, or coded twice.
"""

from __future__ import annotations

import base64
import html
import json
import re
from bisect import bisect_right
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import quote, quote_plus

MASK = "•••"
_LEAST = 4
_LEAST_SPREAD: Final = 8
"""Characters of a coded form that is also looked for with gaps in it: a shorter one would be found in innocent text."""

# What tools put between the characters of a coding: line ends and blanks, also as the escapes of a JSON text; between hexadecimal digits more.
_GAPS: Final = re.compile(r"(?:\\[nrt]|\s)+")
_HEX_GAPS: Final = re.compile(r"(?:\\[nrtx]|0[xX]|[\s:,%;-])+")


class Redactor:
    """Knows the secrets of one run and replaces each, also in its base64, hex, URL and JSON forms, by a mask."""

    def __init__(self, secrets: Iterable[str]) -> None:
        known = [secret for secret in secrets if len(secret) >= _LEAST]
        coded = {form for secret in known for form in _base64_forms(secret)}
        self._forms = _longest_first(coded.union(*(_plain_forms(secret) for secret in known)))
        self._spread = _longest_first(form for form in coded if len(form) >= _LEAST_SPREAD)
        self._hex = _longest_first(form for secret in known if len(form := secret.encode().hex()) >= _LEAST_SPREAD)

    def text(self, text: str) -> str:
        """The text with every form of every secret masked: one pass of substring search for each form, and one for each way of writing gaps."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, MASK)
        text = _mask_spread(text, _GAPS, self._spread)
        return _mask_spread(text, _HEX_GAPS, self._hex, ignore_case=True)

    def value(self, value: Any) -> Any:
        """A JSON value with every string, keys included, masked."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(str(key)): self.value(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        return value


def _longest_first(forms: Iterable[str]) -> list[str]:
    return sorted(set(forms), key=len, reverse=True)


def _plain_forms(secret: str) -> set[str]:
    urls = {quote(secret, safe=""), quote(secret), quote_plus(secret)}
    return {
        secret,
        *urls,
        *(re.sub("%[0-9A-F]{2}", lambda match: match[0].lower(), url) for url in urls),
        html.escape(secret),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        secret.encode().hex(),
    }


def _base64_forms(secret: str) -> set[str]:
    raw, forms = secret.encode(), set()
    for lead in range(3):
        # Base64 of a text that contains the secret differs by alignment; the middle of each alignment is constant.
        encoded = base64.b64encode(b"\0" * lead + raw).decode().rstrip("=")
        middle = encoded[(lead * 8 + 5) // 6 : len(encoded) - (1 if (lead + len(raw)) % 3 else 0)]
        if len(middle) >= _LEAST:
            forms.add(middle)
            forms.add(middle.replace("+", "-").replace("/", "_"))
    return forms


def _mask_spread(text: str, gaps: re.Pattern[str], forms: list[str], *, ignore_case: bool = False) -> str:
    """Mask forms that stand in the text with gaps between their characters. Linear: the gaps are taken out once, and places looked up by bisection."""
    if not forms or len(text) < _LEAST_SPREAD:
        return text
    closed = gaps.sub("", text)
    searched = _lower_ascii(closed) if ignore_case else closed
    found = _spans(searched, forms)
    if not found:
        return text
    # Piece number n of the text without gaps begins at starts[n] there, and is moved by shifts[n] in the text itself.
    starts, shifts, removed = [0], [0], 0
    for gap in gaps.finditer(text):
        removed += gap.end() - gap.start()
        starts.append(gap.end() - removed)
        shifts.append(removed)
    parts, done = [], 0
    for begin, end in found:
        first = begin + shifts[bisect_right(starts, begin) - 1]
        last = end - 1 + shifts[bisect_right(starts, end - 1) - 1]
        parts += [text[done:first], MASK]
        done = last + 1
    return "".join([*parts, text[done:]])


def _spans(text: str, forms: list[str]) -> list[tuple[int, int]]:
    """Where any form stands, as disjoint spans in order; overlapping ones are one."""
    spans = []
    for form in forms:
        at = text.find(form)
        while at >= 0:
            spans.append((at, at + len(form)))
            at = text.find(form, at + len(form))
    merged: list[tuple[int, int]] = []
    for begin, end in sorted(spans):
        if merged and begin < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged


_LOWER: Final = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


def _lower_ascii(text: str) -> str:
    """`str.lower` may change how many characters a text has; this does not."""
    return text.translate(_LOWER)
