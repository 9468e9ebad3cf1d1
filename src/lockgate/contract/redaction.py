"""Masks the known secrets of a run in text and documents, in time linear in the text; it must not be the only guard of a secret."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

MASK = "•••"
_LEAST = 4


class Redactor:
    """Knows the secrets of one run and replaces each, also in its base64, hex, URL and JSON forms, by a mask."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms: set[str] = set()
        for secret in secrets:
            if len(secret) >= _LEAST:
                forms |= _forms(secret)
        self._forms = sorted(forms, key=len, reverse=True)

    def text(self, text: str) -> str:
        """The text with every form of every secret masked: one pass of substring search for each form."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, MASK)
        return text

    def value(self, value: Any) -> Any:
        """A JSON value with every string, keys included, masked."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(str(key)): self.value(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        return value


def _forms(secret: str) -> set[str]:
    raw = secret.encode()
    forms = {
        secret,
        quote(secret, safe=""),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        raw.hex(),
    }
    for lead in range(3):
        # Base64 of a text that contains the secret differs by alignment; the middle of each alignment is constant.
        encoded = base64.b64encode(b"\0" * lead + raw).decode().rstrip("=")
        middle = encoded[(lead * 8 + 5) // 6 : len(encoded) - (1 if (lead + len(raw)) % 3 else 0)]
        if len(middle) >= _LEAST:
            forms.add(middle)
            forms.add(middle.replace("+", "-").replace("/", "_"))
    return forms
