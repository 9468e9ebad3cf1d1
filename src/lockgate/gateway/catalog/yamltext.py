"""Reads YAML the way a gate must: one meaning or none, every node with its line; it must not build anything but JSON values.

Works on PyYAML's event stream, so there is no recursion and no object construction at all: depth, nodes and documents are counted as events
arrive. Refused: anchors, aliases, tags, merge keys, duplicate keys, keys that are no strings, and plain scalars which YAML 1.1 and 1.2 readers
take for different things (`yes`, `0777`, `1:30`, `2026-01-01`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from lockgate.contract.strictjson import MAX_SAFE_INTEGER
from lockgate.gateway.catalog.errors import CatalogError

MAX_FILE_BYTES = 1 << 20
MAX_DEPTH = 24
MAX_NODES = 100_000
MAX_DOCUMENTS = 2_000

Path = tuple[str | int, ...]

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_YAML11: Any = yaml.resolver.Resolver()
_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)\Z")
_FLOAT = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?\Z")
_WORDS: dict[str, Any] = {"true": True, "false": False, "null": None, "~": None, "": None}
_TAGS = {bool: "bool", int: "int", float: "float", type(None): "null", str: "str"}


@dataclass(slots=True)
class Document:
    """One YAML document: its JSON value, and for every path the place (line, column, from 1) of the node and of its key."""

    file: str
    value: Any = None
    nodes: dict[Path, tuple[int, int]] = field(default_factory=dict)
    keys: dict[Path, tuple[int, int]] = field(default_factory=dict)

    def place(self, path: Path, *, key: bool = False) -> tuple[int, int]:
        """Where a path stands (its key, when asked and there is one); of a missing path, where its nearest parent's key stands."""
        while path and path not in self.nodes:
            path, key = path[:-1], True
        if key and path in self.keys:
            return self.keys[path]
        return self.nodes.get(path, (1, 1))

    def error(self, path: Path, message: str, *, key: bool = False) -> CatalogError:
        """A CatalogError at a path."""
        line, column = self.place(path, key=key)
        return CatalogError(self.file, line, column, dotted(path), message)


class YamlError(ValueError):
    """The text is not YAML with one meaning; `error` says where."""

    def __init__(self, error: CatalogError) -> None:
        super().__init__(str(error))
        self.error = error


def dotted(path: Path) -> str:
    """`spec.targets.names[0]` of a path; keys from the file are cut at 64 characters."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part[:64]}" for part in path]
    return "".join(parts).removeprefix(".")


def read_documents(file: str, data: bytes) -> list[Document]:
    """The documents of one file's bytes (UTF-8), empty ones left out. Raises YamlError at the first fault."""
    if len(data) > MAX_FILE_BYTES:
        raise _refuse(file, (1, 1), "", f"the file is larger than {MAX_FILE_BYTES} bytes; split it")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _refuse(file, (line, 1), "", f"not UTF-8 at byte {error.start}; save the file as UTF-8") from None
    try:
        return [document for document in _documents(file, text) if document.value is not None]
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _refuse(file, (line, 1), "", "a control character is not allowed in YAML; remove it") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise _refuse(file, place, "", f"not YAML: {error.problem or error.context}") from None
    except yaml.YAMLError:
        raise _refuse(file, (1, 1), "", "not YAML") from None


def _refuse(file: str, place: tuple[int, int], field: str, message: str) -> YamlError:
    return YamlError(CatalogError(file, *place, field, message))


@dataclass(slots=True)
class _Open:
    """A collection whose end has not come yet; `key` is the key awaiting its value."""

    path: Path
    value: dict[str, Any] | list[Any]
    key: str | None = None

    def next_path(self) -> Path:
        if isinstance(self.value, list):
            return (*self.path, len(self.value))
        return (*self.path, self.key) if self.key is not None else self.path

    def add(self, value: Any) -> None:
        if isinstance(self.value, list):
            self.value.append(value)
        elif self.key is not None:
            self.value[self.key] = value
            self.key = None


def _documents(file: str, text: str) -> Iterator[Document]:
    count = nodes = 0
    document = Document(file)
    stack: list[_Open] = []
    for event in yaml.parse(text, Loader=_LOADER):
        mark = event.start_mark
        place = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        if isinstance(event, yaml.DocumentStartEvent):
            document, count = Document(file), count + 1
            if count > MAX_DOCUMENTS:
                raise _refuse(file, place, "", f"more than {MAX_DOCUMENTS} documents in one file; split it")
        elif isinstance(event, yaml.DocumentEndEvent):
            yield document
        elif isinstance(event, yaml.CollectionEndEvent):
            closed = stack.pop()
            if stack:
                stack[-1].add(closed.value)
            else:
                document.value = closed.value
        elif isinstance(event, yaml.NodeEvent):
            nodes += 1
            path = stack[-1].next_path() if stack else ()
            _check_node(file, event, place, path, nodes)
            _take(document, stack, event, place)


def _check_node(file: str, event: yaml.NodeEvent, place: tuple[int, int], path: Path, nodes: int) -> None:
    if nodes > MAX_NODES:
        raise _refuse(file, place, dotted(path), f"more than {MAX_NODES} values in one file; split it")
    if len(path) > MAX_DEPTH:
        raise _refuse(file, place, dotted(path[:4]), f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
        raise _refuse(file, place, dotted(path), "anchors and aliases are not allowed; write the value out")
    if getattr(event, "tag", None) is not None:
        raise _refuse(file, place, dotted(path), "YAML tags (!…) are not allowed; remove the tag")


def _take(document: Document, stack: list[_Open], event: yaml.NodeEvent, place: tuple[int, int]) -> None:
    parent = stack[-1] if stack else None
    if parent is not None and isinstance(parent.value, dict) and parent.key is None:
        _take_key(document, parent, event, place)
        return
    path = parent.next_path() if parent else ()
    document.nodes[path] = place
    if isinstance(event, yaml.MappingStartEvent):
        stack.append(_Open(path, {}))
    elif isinstance(event, yaml.SequenceStartEvent):
        stack.append(_Open(path, []))
    elif isinstance(event, yaml.ScalarEvent):
        value = _scalar(document.file, event, place, path)
        if parent:
            parent.add(value)
        else:
            document.value = value


def _take_key(document: Document, parent: _Open, event: yaml.NodeEvent, place: tuple[int, int]) -> None:
    field = dotted(parent.path)
    if not isinstance(event, yaml.ScalarEvent):
        raise _refuse(document.file, place, field, "a key must be text, not a collection")
    key = _scalar(document.file, event, place, parent.path)
    if not isinstance(key, str) or (event.implicit[0] and key == "<<"):
        raise _refuse(document.file, place, field, "a key must be text; put it in quotes")
    path = (*parent.path, key)
    if isinstance(parent.value, dict) and key in parent.value:
        first = document.keys[path][0]
        raise _refuse(document.file, place, dotted(path), f"the key stands twice; first on line {first}")
    document.keys[path] = place
    parent.key = key


def _scalar(file: str, event: yaml.ScalarEvent, place: tuple[int, int], path: Path) -> Any:
    text = event.value
    if not event.implicit[0]:
        return text
    value = _plain(text)
    old = _YAML11.resolve(yaml.ScalarNode, text, (True, False)).rpartition(":")[2]
    if isinstance(value, float) and "." not in text and old == "str":
        old = "float"  # YAML 1.1 wants a point in every float; 1e3 is a number to every other reader
    if old != _TAGS[type(value)] and not (old == "merge"):
        raise _refuse(file, place, dotted(path), "YAML readers disagree on what this is; put it in quotes")
    if isinstance(value, float) and not math.isfinite(value):
        raise _refuse(file, place, dotted(path), "is not a finite number")
    if type(value) is int and abs(value) > MAX_SAFE_INTEGER:
        raise _refuse(file, place, dotted(path), "is outside ±(2**53-1)")
    return value


def _plain(text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if len(text) <= 32 and _INTEGER.match(text):
        return int(text)
    if len(text) <= 64 and _FLOAT.match(text):
        return float(text)
    return text
