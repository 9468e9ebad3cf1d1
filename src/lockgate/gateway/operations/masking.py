"""Keeps secrets out of decision records, by JSON pointer: hidden before policy is asked, or masked in the record after; pure but for its key.

What is *hidden* policy does not see either, so that the record is exactly what was evaluated and replays to the byte. What is *masked* policy saw;
the record says where, and a replay of it can be less than certain (ADR 32). A value is replaced by a keyed digest, so that equal values stay
equal while this process runs; the key is never written down, so that nobody can try values against it later.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

import orjson

from lockgate.contract.canonical import CanonicalError, canonical
from lockgate.gateway.catalog.argschema import SENSITIVE_PREFIX
from lockgate.gateway.operations.repeats import Repeats

DIGEST: Final = "hmac-sha256:"
MAX_POINTERS: Final = 64
MAX_NAMED: Final = 256
"""At most so many pointers stand in one record; beyond them the pattern that found them stands for the rest."""

_MAX_DEPTH: Final = 64
_ANY: Final = "*"
_HIDEABLE: Final = (
    ("arguments", None),
    ("reason",),
    ("plan", "variables", None),
    ("plan", "planned_values"),
    ("plan", "prior_state"),
    ("plan", "configuration"),
    ("plan", "output_changes", None),
    ("plan", "resource_drift", None),
    ("plan", "resource_changes", None, "change", "before"),
    ("plan", "resource_changes", None, "change", "after"),
)
"""Below these a policy input may say anything; elsewhere its schema wants what the gateway knows."""


class PointerInvalid(ValueError):
    """A pointer that cannot be used; the message says why, and what can."""


@dataclass(frozen=True, slots=True)
class Pointer:
    """A JSON pointer (RFC 6901) into policy input; a segment `*` stands for every key or index."""

    text: str
    segments: tuple[str, ...]


def read_pointer(text: str) -> Pointer:
    """Raises PointerInvalid."""
    if not text.startswith("/") or len(text) > 512:
        raise PointerInvalid("must be a JSON pointer such as /arguments/password, of at most 512 characters")
    segments = tuple(part.replace("~1", "/").replace("~0", "~") for part in text[1:].split("/"))
    if segments[0] in ("", _ANY, "version", "question"):
        raise PointerInvalid("must begin with a field of policy input other than version and question")
    return Pointer(text, segments)


def read_hidden_pointer(text: str) -> Pointer:
    """A pointer to what may be hidden before policy is asked. Raises PointerInvalid."""
    pointer = read_pointer(text)
    if not any(_below(pointer.segments, place) for place in _HIDEABLE):
        raise PointerInvalid(
            "must point below /arguments, at /reason, or into /plan where values stand "
            "(/plan/resource_changes/*/change/after/…, /plan/variables/…, …): the rest policy cannot do without"
        )
    return pointer


def _below(segments: tuple[str, ...], place: tuple[str | None, ...]) -> bool:
    return len(segments) >= len(place) and all(
        want is None or have == want for have, want in zip(segments, place, strict=False)
    )


@dataclass(frozen=True, slots=True)
class Masking:
    """What is left out of records. `key` is 32 random bytes of this process."""

    key: bytes
    hide: tuple[Pointer, ...] = ()
    mask: tuple[Pointer, ...] = ()

    def hidden(
        self, document: Mapping[str, Any], sensitive: Sequence[str] = ()
    ) -> tuple[Mapping[str, Any], tuple[str, ...]]:
        """The document as policy may see it, and where something was hidden; the very same document where nothing was.

        Besides `hide`: a literal where the catalog wants a reference to a secret (`sensitive` arguments), and whatever a tool marked sensitive
        and the runner did not hide.
        """
        if not (self.hide or sensitive or document["plan"]):
            return document, ()
        pass_ = _Pass(self.key)
        for name in sensitive:
            if not str(document["arguments"].get(name, SENSITIVE_PREFIX)).startswith(SENSITIVE_PREFIX):
                document = pass_.replace(document, Pointer(f"/arguments/{name}", ("arguments", name)))
        for pointer in self.hide:
            document = pass_.replace(document, pointer)
        if document["plan"]:
            document = pass_.marked(document)
        return document, pass_.named()

    def masked(
        self, document: Mapping[str, Any], said: dict[str, Any]
    ) -> tuple[Mapping[str, Any], dict[str, Any], tuple[str, ...]]:
        """The input and the decision's document as the record holds them, and where something was masked."""
        if not self.mask:
            return document, said, ()
        pass_ = _Pass(self.key)
        for pointer in self.mask:
            document = pass_.replace(document, pointer)
        if pass_.values:
            # A rule's details may repeat what it looked at, and so may what a brought rule said.
            repeats = Repeats(pass_.values)
            said = {
                **said,
                "violations": [{**item, "details": repeats.out_of(item["details"])} for item in said["violations"]],
            }
            if "readings" in said:
                shown = [
                    {**item, "value": repeats.out_of(item["value"])} if "value" in item else item
                    for item in said["readings"]
                ]
                said["readings"] = shown
        return document, said, pass_.named()


@dataclass(slots=True)
class _Pass:
    """One walk over one document; copies what it changes and nothing else."""

    key: bytes
    values: set[str | int | float] = field(default_factory=set)
    _found: dict[str, list[str]] = field(default_factory=dict)

    def named(self) -> tuple[str, ...]:
        """Where values were replaced, in order; a pattern where there were too many to name."""
        names = {name for found in self._found.values() for name in found}
        if len(names) > MAX_NAMED:
            names = set(self._found)
        return tuple(sorted(names))

    def replace(self, document: Mapping[str, Any], pointer: Pointer) -> Mapping[str, Any]:
        """The document with a digest in place of every value that the pointer names; null stays null."""
        replaced: Mapping[str, Any] = self._at(document, pointer.segments, (), pointer.text)
        return replaced

    def marked(self, document: Mapping[str, Any]) -> Mapping[str, Any]:
        """The document with every change's values hidden where `before_sensitive` and `after_sensitive` say so."""
        plan, changes = document["plan"], list(document["plan"]["resource_changes"])
        touched = False
        for index, entry in enumerate(changes):
            body = entry.get("change")
            for side in ("before", "after") if isinstance(body, Mapping) else ():
                mark = body.get(f"{side}_sensitive")
                # Most marks are empty shapes, of which there may be thousands.
                if mark and side in body and (not isinstance(mark, Mapping) or any(mark.values())):
                    at = ("plan", "resource_changes", str(index), "change", side)
                    value = self._by_mark(body[side], mark, at, 0)
                    if value is not body[side]:
                        body, touched = {**body, side: value}, True
            changes[index] = entry if body is entry.get("change") else {**entry, "change": body}
        return {**document, "plan": {**plan, "resource_changes": changes}} if touched else document

    def _at(self, value: Any, left: tuple[str, ...], at: tuple[str, ...], pattern: str) -> Any:
        if not left:
            return self._digest(value, at, pattern)
        keys: Iterable[Any] = ()
        if isinstance(value, Mapping):
            keys = value if left[0] == _ANY else (left[0],) if left[0] in value else ()
        elif isinstance(value, list | tuple):
            keys = range(len(value)) if left[0] == _ANY else _index(left[0], len(value))
        changed = {key: self._at(value[key], left[1:], (*at, str(key)), pattern) for key in keys}
        changed = {key: item for key, item in changed.items() if item is not value[key]}
        if not changed:
            return value
        if isinstance(value, Mapping):
            return {**value, **changed}
        return [changed.get(index, item) for index, item in enumerate(value)]

    def _by_mark(self, value: Any, mark: Any, at: tuple[str, ...], depth: int) -> Any:
        """As the runner hides: true hides it, a shape goes down with it, and what does not fit hides all."""
        if not mark or value is None:
            return value
        if depth < _MAX_DEPTH and isinstance(mark, Mapping) and isinstance(value, Mapping):
            below = {
                name: self._by_mark(value[name], mark[name], (*at, name), depth + 1) for name in mark if name in value
            }
            below = {name: item for name, item in below.items() if item is not value[name]}
            return {**value, **below} if below else value
        if depth < _MAX_DEPTH and isinstance(mark, list) and isinstance(value, list):
            marks = [*mark, *([False] * (len(value) - len(mark)))]
            items = [self._by_mark(item, marks[n], (*at, str(n)), depth + 1) for n, item in enumerate(value)]
            return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
        if isinstance(mark, Mapping | list) and not _says(mark):
            return value
        return self._digest(value, at, "/plan/resource_changes/*/change/*")

    def _digest(self, value: Any, at: tuple[str, ...], pattern: str) -> Any:
        if value is None or (isinstance(value, str) and value.startswith(DIGEST)):
            return value
        self._found.setdefault(pattern, []).append("".join(f"/{_escaped(part)}" for part in at))
        self._remember(value)
        try:
            data = canonical(value)
        except CanonicalError:
            data = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        return DIGEST + hmac.new(self.key, data, sha256).hexdigest()

    def _remember(self, value: Any) -> None:
        stack = [value]
        while stack:
            item = stack.pop()
            if isinstance(item, str | int | float) and not isinstance(item, bool):
                self.values.add(item)
            elif isinstance(item, Mapping):
                stack.extend(item.values())
            elif isinstance(item, list | tuple):
                stack.extend(item)


def _says(mark: Any) -> bool:
    """Whether a shape of marks marks anything at all."""
    stack = [mark]
    while stack:
        item = stack.pop()
        if item is True:
            return True
        if isinstance(item, Mapping):
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
    return False


def _index(text: str, size: int) -> tuple[int, ...]:
    return (int(text),) if text.isascii() and text.isdigit() and len(text) < 10 and int(text) < size else ()


def _escaped(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1")
