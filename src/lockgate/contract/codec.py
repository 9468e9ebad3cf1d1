"""Turns frozen dataclasses into JSON documents and back, strictly; it must not guess, convert or fill in what is missing."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Any, TypeVar

T = TypeVar("T")


class DocumentError(ValueError):
    """A document does not have the shape its type demands; `field` is the dotted path of the first fault."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field or 'document'}: {message}")
        self.field = field


def to_document(value: Any) -> Any:
    """The JSON value of a dataclass tree: tuples become lists, enums their values; every field is written, None included."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_document(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, tuple | list):
        return [to_document(item) for item in value]
    if isinstance(value, Mapping):
        return {key: to_document(item) for key, item in value.items()}
    return value


def from_document(kind: type[T], document: Any, field: str = "") -> T:
    """Build `kind` from a JSON value: every field present, none unknown, each of its declared type. Raises DocumentError."""
    result: T = _read(kind, document, field)
    return result


@lru_cache(maxsize=256)
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _read(kind: Any, value: Any, field: str) -> Any:
    if kind is Any:
        return value
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return _read_optional(kind, value, field)
    if origin is tuple:
        if not isinstance(value, list):
            raise DocumentError(field, "must be a list")
        inner = typing.get_args(kind)[0]
        return tuple(_read(inner, item, f"{field}[{index}]") for index, item in enumerate(value))
    if origin in (dict, Mapping) or (isinstance(origin, type) and issubclass(origin, Mapping)):
        return _read_mapping(kind, value, field)
    if dataclasses.is_dataclass(kind):
        return _read_dataclass(kind, value, field)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        if value not in [member.value for member in kind]:
            raise DocumentError(field, f"must be one of {', '.join(member.value for member in kind)}")
        return kind(value)
    if type(value) is not kind:
        raise DocumentError(field, f"must be {kind.__name__}, not {type(value).__name__}")
    return value


def _read_optional(kind: Any, value: Any, field: str) -> Any:
    arms = [arm for arm in typing.get_args(kind) if arm is not type(None)]
    if value is None:
        return None
    if len(arms) != 1:
        raise DocumentError(field, "has an ambiguous type")
    return _read(arms[0], value, field)


def _read_mapping(kind: Any, value: Any, field: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise DocumentError(field, "must be an object")
    inner = typing.get_args(kind)[1]
    return {key: _read(inner, item, f"{field}.{key}" if field else key) for key, item in value.items()}


def _read_dataclass(kind: Any, value: Any, field: str) -> Any:
    if not isinstance(value, dict):
        raise DocumentError(field, "must be an object")
    hints = _hints(kind)
    names = [f.name for f in dataclasses.fields(kind)]
    prefix = f"{field}." if field else ""
    for name in value:
        if name not in names:
            raise DocumentError(f"{prefix}{name}", "is not known")
    for name in names:
        if name not in value:
            raise DocumentError(f"{prefix}{name}", "is missing")
    try:
        return kind(**{name: _read(hints[name], value[name], f"{prefix}{name}") for name in names})
    except ValueError as error:
        if isinstance(error, DocumentError):
            raise
        raise DocumentError(field, str(error)) from None
