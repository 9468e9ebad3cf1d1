"""Reads a zone's YAML settings into frozen dataclasses, strictly, and lists them for the reference; it must not know any setting."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, TypeVar

from lockgate.wire.yamlnodes import MAX_FILE_BYTES, Place, YamlFault, read_yaml

T = TypeVar("T")


class SettingInvalid(ValueError):
    """Raised in a settings dataclass' `__post_init__`: `field` (dotted, below that dataclass) has a value that cannot stand."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class SettingsError(ValueError):
    """A settings file cannot be used; names file, line, field and what to change."""

    def __init__(self, file: str, line: int, field: str, message: str) -> None:
        super().__init__(f"{file}:{line}: {field}: {message}" if field else f"{file}:{line}: {message}")
        self.file = file
        self.line = line
        self.field = field


@dataclass(frozen=True, slots=True)
class SettingDoc:
    """One line of the reference: dotted name, type, default ("required" when there is none) and meaning."""

    name: str
    type: str
    default: str
    doc: str


def setting(doc: str, default: Any = dataclasses.MISSING, *, factory: Any = dataclasses.MISSING) -> Any:
    """Declare a setting with its documentation; without default or factory it is required."""
    if factory is not dataclasses.MISSING:
        return dataclasses.field(default_factory=factory, metadata={"doc": doc})
    if default is not dataclasses.MISSING:
        return dataclasses.field(default=default, metadata={"doc": doc})
    return dataclasses.field(metadata={"doc": doc})


def load_settings(path: Path, kind: type[T]) -> T:
    """The settings of a YAML file; relative paths in it are below its own directory. Raises SettingsError."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise SettingsError(str(path), 1, "", f"cannot be read: {error.strerror}") from None
    return read_settings(str(path), data, kind, path.absolute().parent)


def read_settings(file: str, data: bytes, kind: type[T], base: Path) -> T:
    """As `load_settings`, of bytes."""
    try:
        value, places = read_yaml(data)
    except YamlFault as fault:
        raise SettingsError(file, fault.line, fault.field, fault.message) from None
    result: T = _Reader(file, places, base).read(kind, {} if value is None else value, "")
    return result


def documentation(kind: type, prefix: str = "") -> list[SettingDoc]:
    """Every setting below `kind` in order of declaration, nested ones by their dotted name."""
    hints, docs = typing.get_type_hints(kind), []
    for field in dataclasses.fields(kind):
        hint, name = hints[field.name], prefix + field.name
        docs.append(SettingDoc(name, _type_name(hint), _default_text(field), field.metadata.get("doc", "")))
        inner, suffix = _inner_dataclass(hint)
        if inner is not None:
            docs += documentation(inner, f"{name}{suffix}.")
    return docs


class _Reader:
    def __init__(self, file: str, places: dict[str, Place], base: Path) -> None:
        self._file = file
        self._places = places
        self._base = base

    def error(self, field: str, message: str) -> SettingsError:
        at = field
        while at and at not in self._places:
            at = at[: max(at.rfind("."), at.rfind("["), 0)]
        return SettingsError(self._file, self._places.get(at, 1), field, message)

    def read(self, kind: Any, value: Any, field: str) -> Any:
        if kind is Any:
            return value
        origin, arms = typing.get_origin(kind), typing.get_args(kind)
        if origin in (typing.Union, types.UnionType):
            return (
                None if value is None else self.read(next(arm for arm in arms if arm is not type(None)), value, field)
            )
        if origin is Literal:
            if value not in arms:
                raise self.error(field, f"must be one of {', '.join(map(str, arms))}")
            return value
        if origin is tuple:
            if not isinstance(value, list):
                raise self.error(field, "must be a list")
            return tuple(self.read(arms[0], item, f"{field}[{index}]") for index, item in enumerate(value))
        if origin in (dict, Mapping):
            self._demand_mapping(value, field)
            return {key: self.read(arms[1], item, f"{field}.{key}") for key, item in value.items()}
        if dataclasses.is_dataclass(kind):
            return self._dataclass(kind, value, field)
        return self._scalar(kind, value, field)

    def _scalar(self, kind: type, value: Any, field: str) -> Any:
        if issubclass(kind, StrEnum):
            if value not in [member.value for member in kind]:
                raise self.error(field, f"must be one of {', '.join(member.value for member in kind)}")
            return kind(value)
        if issubclass(kind, Path):
            if not isinstance(value, str) or not value or "\0" in value:
                raise self.error(field, "must be a path")
            return self._base / value
        if kind is float and type(value) is int:
            return float(value)
        if type(value) is not kind:
            raise self.error(field, f"must be {_type_name(kind)}, not {_type_name(type(value))}")
        return value

    def _demand_mapping(self, value: Any, field: str) -> None:
        if not isinstance(value, dict):
            raise self.error(field, "must be a mapping (`name: value` lines)")

    def _dataclass(self, kind: Any, value: Any, field: str) -> Any:
        self._demand_mapping(value, field)
        hints, prefix = typing.get_type_hints(kind), f"{field}." if field else ""
        known = {item.name: item for item in dataclasses.fields(kind)}
        for name in value:
            if name not in known:
                raise self.error(f"{prefix}{name}", f"is not a setting; there are {', '.join(known)}")
        for name, item in known.items():
            required = item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
            if required and name not in value:
                raise self.error(f"{prefix}{name}", "is missing")
        given = {name: self.read(hints[name], item, f"{prefix}{name}") for name, item in value.items()}
        for name, item in known.items():
            if name not in given and isinstance(item.default, Path):
                given[name] = self._base / item.default
        try:
            return kind(**given)
        except SettingInvalid as fault:
            raise self.error(f"{prefix}{fault.field}", fault.message) from None


def _inner_dataclass(hint: Any) -> tuple[type | None, str]:
    if dataclasses.is_dataclass(hint):
        return hint if isinstance(hint, type) else None, ""
    origin, arms = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _inner_dataclass(arms[0])
    if origin is tuple:
        return _inner_dataclass(arms[0])[0], "[]"
    if origin in (dict, Mapping):
        return _inner_dataclass(arms[1])[0], ".NAME"
    return None, ""


_NAMES: dict[Any, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "a mapping",
}


def _type_name(hint: Any) -> str:
    origin, arms = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return f"{_type_name(arms[0])}, or nothing"
    if origin is Literal:
        return "one of " + ", ".join(map(str, arms))
    if origin is tuple:
        return f"a list of: {_type_name(arms[0])}"
    if origin in (dict, Mapping):
        return f"a mapping of names to: {_type_name(arms[1])}"
    if hint is type(None):
        return "nothing"
    if isinstance(hint, type) and issubclass(hint, Path):
        return "a path"
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return "one of " + ", ".join(member.value for member in hint)
    return "settings" if dataclasses.is_dataclass(hint) else _NAMES.get(hint, "any value")


def _default_text(field: dataclasses.Field[Any]) -> str:
    if field.default_factory is not dataclasses.MISSING:
        return "empty" if field.default_factory in (dict, list, tuple) else "see below"
    if field.default is dataclasses.MISSING:
        return "required"
    if field.default is None or field.default == ():
        return "nothing" if field.default is None else "empty"
    return str(field.default).lower() if isinstance(field.default, bool) else str(field.default)
