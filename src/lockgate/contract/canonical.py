"""RFC 8785 canonical JSON and the digests made of it; it must not be imported by the job (which hashes received bytes)."""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final

import orjson
import rfc8785

from lockgate.contract.strictjson import MAX_SAFE_INTEGER

_SHA256: Final = re.compile(r"sha256:[0-9a-f]{64}")


class CanonicalError(ValueError):
    """The value has no canonical form: a non-finite or too large number, a key that is no string, or a lone surrogate."""


def canonical(value: Any) -> bytes:
    """The RFC 8785 form of a JSON value (dict, list, str, int, float, bool, None), UTF-8. Raises CanonicalError.

    For values without floats, whose keys sort alike in both orders (nearly all of ours), orjson's sorted form is exactly the same bytes at a hundredth of the
    cost; `tests/unit/contract` holds the two against each other.
    """
    try:
        if _is_plain(value):
            try:
                return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
            except orjson.JSONEncodeError:
                # A lone surrogate, or deeper than orjson goes: the reference encoder says which.
                return rfc8785.dumps(value)
        written = rfc8785.dumps(value)
        _check_readable(value)
        return written
    except (rfc8785.CanonicalizationError, ValueError, RecursionError) as error:
        raise CanonicalError(f"no canonical JSON form: {error}") from None


def sha256(data: bytes) -> str:
    """`sha256:` and 64 hex digits of the bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def is_sha256(text: str) -> bool:
    """Whether a text is a digest as this project writes it: `sha256:` and 64 lower-case hex digits."""
    return _SHA256.fullmatch(text) is not None


def digest(value: Any) -> str:
    """`sha256:` of the canonical form of a JSON value."""
    return sha256(canonical(value))


def _check_readable(value: Any) -> None:
    """A double such as 2.0**53 is written like an integer, which no strict reader would then take for exact."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            stack.extend(item.values())
        elif isinstance(item, list | tuple):
            stack.extend(item)
        elif isinstance(item, float) and MAX_SAFE_INTEGER < abs(item) < _WRITTEN_WITH_EXPONENT:
            raise ValueError(f"the number {item!r} would read as an integer outside ±(2**53-1)")


_WRITTEN_WITH_EXPONENT = 1e21
_FIRST_SURROGATE = "\ud800"
_MOST_CONTAINERS = 1_000_000
"""Past this many the value may hold itself; the reference encoder then recurses and refuses, where this search would never end."""


def _is_plain(value: Any) -> bool:
    stack, budget = [value], _MOST_CONTAINERS
    while stack:
        item = stack.pop()
        kind = type(item)
        if kind is str or item is None or kind is bool:
            continue
        if kind is dict:
            budget -= 1
            for key in item:
                # Below the surrogates, the order of UTF-16 units (RFC 8785) is that of UTF-8 bytes (orjson).
                if type(key) is not str or not (key.isascii() or max(key) < _FIRST_SURROGATE):
                    return False
            stack.extend(item.values())
        elif kind is list or kind is tuple:
            budget -= 1
            stack.extend(item)
        elif kind is not int or not -MAX_SAFE_INTEGER <= item <= MAX_SAFE_INTEGER:
            return False
        if budget < 0:
            return False
    return True
