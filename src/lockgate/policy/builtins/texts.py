"""Built-ins of Rego about text and structure that the Wasm target lacks, each linear in what it is given."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from lockgate.policy.builtins.values import RegoObject, RegoSet, order, pairs


def _strings(value: Any) -> tuple[str, ...]:
    """A string, or an array or set of strings."""
    items = (value,) if isinstance(value, str) else value
    if not isinstance(items, tuple | list) or isinstance(items, RegoObject):
        raise TypeError("neither string nor strings")
    if not all(isinstance(item, str) for item in items):
        raise TypeError("no string")
    return tuple(items)


def _any_prefix(texts: Any, prefixes: Any) -> bool:
    wanted = _strings(prefixes)
    return any(text.startswith(wanted) for text in _strings(texts))


def _any_suffix(texts: Any, suffixes: Any) -> bool:
    wanted = _strings(suffixes)
    return any(text.endswith(wanted) for text in _strings(texts))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no string")
    return value


def _count(text: Any, part: Any) -> int:
    """As Go: the empty text is found between all characters."""
    return _text(text).count(_text(part))


def _indexes(text: Any, part: Any) -> list[int]:
    """Where `part` begins, overlapping ones too."""
    if not _text(part):
        raise ValueError("empty search character")
    found, at = [], _text(text).find(part)
    while at >= 0:
        found.append(at)
        at = text.find(part, at + 1)
    return found


def _bytes(value: Any) -> bytes:
    return _text(value).encode("utf-8")


def _hash(name: str) -> Callable[[Any], str]:
    return lambda value: hashlib.new(name, _bytes(value), usedforsecurity=False).hexdigest()


def _hmac(name: str) -> Callable[[Any, Any], str]:
    return lambda value, key: hmac.new(_bytes(key), _bytes(value), name).hexdigest()


def _hex_decode(text: Any) -> str:
    if not re.fullmatch("(?:[0-9a-fA-F]{2})*", _text(text)):
        raise ValueError("no hexadecimal")
    return bytes.fromhex(text).decode("utf-8")


def _quote_meta(text: Any) -> str:
    return re.sub(r"([*?\\\[\]{}])", r"\\\1", _text(text))


def _subset(whole: Any, part: Any) -> bool:
    """Objects all the way down, sets by their members, arrays as a run within, a set in any order within an array."""
    if isinstance(whole, dict | RegoObject) and isinstance(part, dict | RegoObject):
        known = {order(key): item for key, item in pairs(whole)}
        return all(order(key) in known and _within(known[order(key)], item) for key, item in pairs(part))
    if isinstance(part, RegoSet) and isinstance(whole, list) and not isinstance(whole, RegoObject):
        members = {order(member) for member in whole}
        return bool(whole) and all(order(member) in members for member in part)
    if _is_array(whole) and _is_array(part):
        return _run(whole, part)
    raise TypeError("both must be of the same type, or array and set")


def _within(whole: Any, part: Any) -> bool:
    if order(whole) == order(part):
        return True
    if isinstance(whole, RegoSet) != isinstance(part, RegoSet):
        return False
    try:
        return _subset(whole, part)
    except TypeError:
        return False


def _is_array(value: Any) -> bool:
    return isinstance(value, list) and not isinstance(value, RegoSet | RegoObject)


def _run(whole: list[Any], part: list[Any]) -> bool:
    """OPA's own search, which does not go back after a partial match: what it misses is missed here."""
    everything, wanted = [order(item) for item in whole], [order(item) for item in part]
    if len(wanted) > len(everything):
        return False
    start = matched = 0
    while matched < len(wanted):
        if start + matched == len(everything):
            return False
        if everything[start + matched] == wanted[matched]:
            matched += 1
        else:
            start, matched = start + 1, 0
    return True


TEXTS: Final[Mapping[str, Callable[..., Any]]] = {
    "strings.any_prefix_match": _any_prefix,
    "strings.any_suffix_match": _any_suffix,
    "strings.count": _count,
    "indexof_n": _indexes,
    "glob.quote_meta": _quote_meta,
    "hex.encode": lambda text: _bytes(text).hex(),
    "hex.decode": _hex_decode,
    "base64url.encode_no_pad": lambda text: base64.urlsafe_b64encode(_bytes(text)).decode().rstrip("="),
    "crypto.md5": _hash("md5"),
    "crypto.sha1": _hash("sha1"),
    "crypto.sha256": _hash("sha256"),
    "crypto.hmac.md5": _hmac("md5"),
    "crypto.hmac.sha1": _hmac("sha1"),
    "crypto.hmac.sha256": _hmac("sha256"),
    "crypto.hmac.sha512": _hmac("sha512"),
    "crypto.hmac.equal": lambda one, other: hmac.compare_digest(_bytes(one), _bytes(other)),
    "object.subset": _subset,
}
