"""Reads a catalog directory and checks all of it, collecting every fault with its line; it must not return a catalog with a fault."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final

import jsonschema_rs

from lockgate.contract.drivers import DriverDeclaration
from lockgate.gateway.catalog.argschema import compile_schema
from lockgate.gateway.catalog.build import build_action, build_target, check_together
from lockgate.gateway.catalog.errors import CatalogError, CatalogErrors
from lockgate.gateway.catalog.explain import explain
from lockgate.gateway.catalog.model import Action, Catalog, Target, build_catalog
from lockgate.gateway.catalog.yamltext import MAX_FILE_BYTES, Document, YamlError, read_documents

MAX_FILES: Final = 256
MAX_ACTIONS: Final = 1_000
MAX_TARGETS: Final = 10_000
MAX_ERRORS: Final = 1_000
SUFFIXES: Final = (".yaml", ".yml")

Drivers = Mapping[str, DriverDeclaration]
"""The declarations of the drivers a catalog may use; `lockgate.contract.drivers.declarations()` has those that come with Lockgate."""


def catalog_files(directory: Path) -> list[Path]:
    """The catalog's files, by name: *.yaml and *.yml of the directory itself, hidden ones left out. Raises CatalogErrors."""
    try:
        paths = sorted(
            path for path in directory.iterdir() if path.suffix in SUFFIXES and not path.name.startswith(".")
        )
    except OSError as error:
        raise CatalogErrors(
            [_whole(directory.name, f"cannot be read: {error.strerror}; name an existing directory")]
        ) from None
    if not paths:
        raise CatalogErrors([_whole(directory.name, "holds no *.yaml file; `lockgate init` writes an example")])
    if len(paths) > MAX_FILES:
        raise CatalogErrors([_whole(directory.name, f"holds more than {MAX_FILES} files; merge some")])
    return paths


def load_directory(directory: Path, drivers: Drivers) -> Catalog:
    """The catalog of a directory. Raises CatalogErrors with every fault of every file."""
    texts: dict[str, bytes] = {}
    errors: list[CatalogError] = []
    for path in catalog_files(directory):
        try:
            texts[path.name] = _read(path)
        except OSError as error:
            errors.append(_whole(path.name, f"cannot be read: {error.strerror}"))
    return load_texts(texts, drivers, errors)


def load_texts(texts: Mapping[str, bytes], drivers: Drivers, known: Iterable[CatalogError] = ()) -> Catalog:
    """The catalog of named file contents; pure. `known` are faults found before. Raises CatalogErrors."""
    errors = list(known)
    documents: list[Document] = []
    for name, data in sorted(texts.items()):
        try:
            documents.extend(read_documents(name, data))
        except YamlError as fault:
            errors.append(fault.error)
    actions: list[tuple[Document, Action]] = []
    targets: list[tuple[Document, Target]] = []
    for document in documents:
        faults = _shape_faults(document)
        if not faults and document.value["kind"] == "Action":
            action, faults = build_action(document, drivers)
            if action is not None:
                actions.append((document, action))
        elif not faults:
            target, faults = build_target(document, drivers)
            if target is not None:
                targets.append((document, target))
        errors.extend(faults[:MAX_ERRORS])
    errors.extend(check_together(actions, targets, complete=not errors))
    errors.extend(_too_many(actions, MAX_ACTIONS, "actions") + _too_many(targets, MAX_TARGETS, "targets"))
    if errors:
        raise CatalogErrors(errors[: MAX_ERRORS * 10])
    return build_catalog((action for _, action in actions), (target for _, target in targets))


@cache
def published_schema() -> dict[str, Any]:
    """The published JSON Schema of a catalog document (`contract/schemas/catalog-v1.json`); do not alter it."""
    text = resources.files("lockgate.contract").joinpath("schemas", "catalog-v1.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


@cache
def _validator() -> jsonschema_rs.Draft202012Validator:
    return compile_schema(published_schema())


def _shape_faults(document: Document) -> list[CatalogError]:
    if not isinstance(document.value, dict):
        return [document.error((), "a document must be a mapping with apiVersion, kind, metadata and spec")]
    faults: list[CatalogError] = []
    for error in _validator().iter_errors(document.value):
        faults.extend(document.error(path, message, key=True) for path, message in explain(error))
    return faults


def _too_many(items: list[Any], limit: int, what: str) -> list[CatalogError]:
    if len(items) <= limit:
        return []
    return [items[limit][0].error((), f"the catalog holds more than {limit} {what}")]


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_FILE_BYTES + 1)


def _whole(file: str, message: str) -> CatalogError:
    return CatalogError(file, 1, 1, "", message)
