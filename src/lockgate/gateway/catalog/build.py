"""Builds actions and targets from documents of valid shape and checks what a JSON Schema cannot; it must not read files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lockgate.contract.drivers import DriverDeclaration
from lockgate.contract.grant import Limits
from lockgate.contract.intent import Effect, Stage
from lockgate.contract.work import ActionSpec, TargetSpec
from lockgate.gateway.catalog.argschema import close_arguments, compile_schema
from lockgate.gateway.catalog.errors import CatalogError
from lockgate.gateway.catalog.explain import explain
from lockgate.gateway.catalog.model import Action, Target, TargetSelector, new_action
from lockgate.gateway.catalog.yamltext import Document

DEFAULT_LIMITS: Final = Limits(
    memory_bytes=512 << 20,
    processes=256,
    cpu_seconds=300,
    wall_seconds=600,
    open_files=1024,
    file_bytes=256 << 20,
    disk_bytes=256 << 20,
    output_bytes=4 << 20,
)
"""What a sandbox may use when a target says nothing."""

_ARGUMENTS = ("spec", "arguments")


def build_action(
    document: Document, drivers: Mapping[str, DriverDeclaration]
) -> tuple[Action | None, list[CatalogError]]:
    """The action of a document of valid shape, or None and what is wrong with it."""
    spec = document.value["spec"]
    faults = _driver_fault(document, drivers)
    arguments = spec.get("arguments", {"type": "object"})
    if not faults and spec["effect"] == "read" and Stage.READ not in drivers[spec["driver"]].stages:
        faults = [
            document.error(("spec", "effect"), f"the driver {spec['driver']} has no read stage; it cannot serve reads")
        ]
    closing = close_arguments(arguments)
    faults += [document.error((*_ARGUMENTS, *path), message, key=True) for path, message in closing.faults]
    variables = spec.get("variables", {})
    if not closing.faults:
        faults += _variable_faults(document, variables, closing.schema["properties"])
    if ".." in spec["entry"].split("/"):
        faults.append(document.error(("spec", "entry"), "must stay inside the source: no .. in it"))
    if faults:
        return None, faults
    action = ActionSpec(
        name=document.value["metadata"]["name"],
        effect=Effect(spec["effect"]),
        risk=spec["risk"],
        driver=spec["driver"],
        entry=spec["entry"],
        variables=variables,
        sensitive=closing.sensitive,
    )
    names = spec["targets"].get("names")
    selector = TargetSelector(tuple(names) if names is not None else None, spec["targets"].get("labels"))
    texts = (spec["title"], spec["description"])
    return new_action(action, texts, spec.get("idempotent", False), selector, closing.schema), []


def build_target(
    document: Document, drivers: Mapping[str, DriverDeclaration]
) -> tuple[Target | None, list[CatalogError]]:
    """The target of a document of valid shape, or None and what is wrong with it."""
    metadata, spec = document.value["metadata"], document.value["spec"]
    faults = _driver_fault(document, drivers)
    settings = spec.get("settings", {})
    if not faults:
        faults = _settings_faults(document, settings, drivers[spec["driver"]].settings_schema)
    limits = _limits(spec.get("limits", {}))
    if limits.file_bytes > limits.disk_bytes:
        path = ("spec", "limits", "file_bytes")
        faults.append(document.error(path, f"is larger than disk_bytes ({limits.disk_bytes})", key=True))
    if faults:
        return None, faults
    target = TargetSpec(
        name=metadata["name"],
        driver=spec["driver"],
        source=spec["source"],
        environment=spec["environment"],
        region=spec["region"],
        labels=metadata.get("labels", {}),
        limits=limits,
        lock=spec.get("lock", metadata["name"]),
        settings=settings,
        egress=tuple(sorted(spec.get("egress", ()))),
    )
    return Target(target, spec.get("tenant", "default")), []


def check_together(
    actions: list[tuple[Document, Action]], targets: list[tuple[Document, Target]], *, complete: bool
) -> list[CatalogError]:
    """Faults between documents: names that stand twice; target names that exist nowhere (only when all documents were `complete`)."""
    faults = _twice([(document, action.name) for document, action in actions], "action")
    faults += _twice([(document, target.name) for document, target in targets], "target")
    drivers = {target.name: target.spec.driver for _, target in targets}
    for document, action in actions:
        for index, name in enumerate(action.selector.names or ()):
            path = ("spec", "targets", "names", index)
            if name in drivers and drivers[name] != action.spec.driver:
                faults.append(document.error(path, f"has the driver {drivers[name]}, not {action.spec.driver}"))
            elif complete and name not in drivers:
                faults.append(document.error(path, "there is no target of this name in the catalog"))
    return faults


def _twice(named: list[tuple[Document, str]], what: str) -> list[CatalogError]:
    first: dict[str, Document] = {}
    faults = []
    for document, name in named:
        if name in first:
            place = f"{first[name].file}:{first[name].place(('metadata', 'name'))[0]}"
            faults.append(document.error(("metadata", "name"), f"there is already a {what} of this name, at {place}"))
        first.setdefault(name, document)
    return faults


def _driver_fault(document: Document, drivers: Mapping[str, DriverDeclaration]) -> list[CatalogError]:
    if document.value["spec"]["driver"] in drivers:
        return []
    known = ", ".join(sorted(drivers)) or "none"
    return [document.error(("spec", "driver"), f"unknown driver; known are: {known}")]


def _variable_faults(document: Document, variables: dict[str, str], properties: dict[str, Any]) -> list[CatalogError]:
    faults = [
        document.error(("spec", "variables", variable), "names no argument of this action")
        for variable, argument in variables.items()
        if argument not in properties
    ]
    fed = set(variables.values())
    faults += [
        document.error(
            (*_ARGUMENTS, "properties", name), "feeds no variable; add it to spec.variables or remove it", key=True
        )
        for name in properties
        if name not in fed
    ]
    return faults


def _settings_faults(document: Document, settings: dict[str, Any], schema: Mapping[str, Any]) -> list[CatalogError]:
    faults = []
    for error in compile_schema(dict(schema)).iter_errors(settings):
        for path, message in explain(error):
            faults.append(document.error(("spec", "settings", *path), message, key=True))
    return faults


def _limits(given: Mapping[str, int]) -> Limits:
    return Limits(**{name: given.get(name, getattr(DEFAULT_LIMITS, name)) for name in Limits.__slots__})
