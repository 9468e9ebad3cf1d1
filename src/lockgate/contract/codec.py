"""Turns frozen dataclasses into JSON documents and back, strictly; it must not guess, convert or fill in what is missing."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Any, TypeVar

from lockgate.contract.shapes import DocumentError

__all__ = ["DocumentError", "from_document", "to_document"]
T = TypeVar("T")


def to_document(value: Any) -> Any:
    """The JSON value of a dataclass tree: tuples become lists, enums their values; every field is written, None included."""
    kind = type(value)
    writer = _WRITERS.get(kind)
    if writer is None:
        writer = _WRITERS[kind] = _writer_of(kind)
    return writer(value)


def from_document(kind: type[T], document: Any, field: str = "") -> T:
    """Build `kind` from a JSON value: every field present, none unknown, each of its declared type. Raises DocumentError."""
    try:
        result: T = _reader(typing.cast(Any, kind))(document)
    except _Fault as fault:
        raise DocumentError(_joined(field, fault.path), fault.message) from None
    return result


class _Fault(Exception):
    """A fault on its way up; each container it passes puts its own part before the path."""

    def __init__(self, message: str, path: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.path = path

    def under(self, part: str) -> _Fault:
        return _Fault(self.message, (part, *self.path))


def _joined(field: str, path: tuple[str, ...]) -> str:
    for part in path:
        field = f"{field}.{part}" if field and not part.startswith("[") else f"{field}{part}"
    return field


_WRITERS: dict[type, Callable[[Any], Any]] = {}
"""By exact type, made once, as `_reader`: the program's own types and JSON's, so it stays small."""


def _writer_of(kind: type) -> Callable[[Any], Any]:
    if dataclasses.is_dataclass(kind):
        names = tuple(f.name for f in dataclasses.fields(kind))
        return lambda value: {name: to_document(getattr(value, name)) for name in names}
    if issubclass(kind, StrEnum):
        return lambda value: value.value
    if issubclass(kind, tuple | list):
        return lambda value: [to_document(item) for item in value]
    if issubclass(kind, Mapping):
        return lambda value: {key: to_document(item) for key, item in value.items()}
    return lambda value: value


_Reader = Callable[[Any], Any]


@lru_cache(maxsize=512)
def _reader(kind: Any) -> _Reader:
    """A function that reads values of `kind`, made once: looking at type hints costs far more than reading."""
    if kind is Any:
        return lambda value: value
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return _optional_reader(kind)
    if origin is tuple:
        return _tuple_reader(typing.get_args(kind)[0])
    if origin in (dict, Mapping) or (isinstance(origin, type) and issubclass(origin, Mapping)):
        return _mapping_reader(typing.get_args(kind)[1])
    if dataclasses.is_dataclass(kind):
        return _dataclass_reader(kind)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return _enum_reader(kind)
    return _plain_reader(kind)


def _plain_reader(kind: Any) -> _Reader:
    def read(value: Any) -> Any:
        if type(value) is not kind:
            raise _Fault(f"must be {kind.__name__}, not {type(value).__name__}")
        return value

    return read


def _enum_reader(kind: type[StrEnum]) -> _Reader:
    members = {member.value: member for member in kind}

    def read(value: Any) -> Any:
        found = members.get(value) if isinstance(value, str) else None
        if found is None:
            raise _Fault(f"must be one of {', '.join(members)}")
        return found

    return read


def _optional_reader(kind: Any) -> _Reader:
    arms = [arm for arm in typing.get_args(kind) if arm is not type(None)]
    inner = _reader(arms[0]) if len(arms) == 1 else None

    def read(value: Any) -> Any:
        if value is None:
            return None
        if inner is None:
            raise _Fault("has an ambiguous type")
        return inner(value)

    return read


def _tuple_reader(item_kind: Any) -> _Reader:
    inner = _reader(item_kind)

    def read(value: Any) -> Any:
        if not isinstance(value, list):
            raise _Fault("must be a list")
        made = []
        for index, item in enumerate(value):
            try:
                made.append(inner(item))
            except _Fault as fault:
                raise fault.under(f"[{index}]") from None
        return tuple(made)

    return read


def _mapping_reader(item_kind: Any) -> _Reader:
    inner = _reader(item_kind)

    def read(value: Any) -> Any:
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise _Fault("must be an object")
        made = {}
        for key, item in value.items():
            try:
                made[key] = inner(item)
            except _Fault as fault:
                raise fault.under(key) from None
        return made

    return read


def _dataclass_reader(kind: Any) -> _Reader:
    hints = typing.get_type_hints(kind)
    readers = {f.name: _reader(hints[f.name]) for f in dataclasses.fields(kind)}

    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _Fault("must be an object")
        if value.keys() != readers.keys():
            raise _misfit(value, readers)
        made, name = {}, ""
        try:
            for name, inner in readers.items():
                made[name] = inner(value[name])
        except _Fault as fault:
            raise fault.under(name) from None
        try:
            return kind(**made)
        except DocumentError:
            raise
        except ValueError as error:
            raise _Fault(str(error)) from None

    return read


def _misfit(value: dict[Any, Any], readers: dict[str, _Reader]) -> _Fault:
    for name in value:
        if name not in readers:
            return _Fault("is not known", (str(name),))
    return _Fault("is missing", (next(name for name in readers if name not in value),))
