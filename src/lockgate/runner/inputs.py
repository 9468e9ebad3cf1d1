"""Makes the inputs document: everything a stage runs on, by value or digest. Arguments are data: mapped to variables, never rendered into text."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from typing import Any

from lockgate.contract.canonical import canonical, sha256
from lockgate.contract.codec import to_document
from lockgate.contract.drivers import UnknownDriver, declaration
from lockgate.contract.work import InputsDocument, Work
from lockgate.runner.acceptance import GrantRefused
from lockgate.runner.parts import Parts

_DISTRIBUTIONS = {"ansible": "ansible-core"}


@dataclass(frozen=True, slots=True)
class Inputs:
    """The document, its exact text and digest."""

    document: InputsDocument
    text: str
    sha256: str


def build_inputs(parts: Parts, work: Work, snapshot_sha256: str) -> Inputs:
    """The inputs of every stage of an attempt. Raises GrantRefused when the driver or its tool is not to be had or not trusted here."""
    name, version, digest = tool_of(parts, work.target.driver, snapshot_sha256)
    document = InputsDocument(
        version=1,
        driver=work.target.driver,
        entry=work.action.entry,
        variables=variables(work),
        settings=dict(work.target.settings),
        snapshot_sha256=snapshot_sha256,
        tool_name=name,
        tool_version=version,
        tool_sha256=digest,
        job_sha256="sha256:" + parts.job_root.digest,
    )
    data = canonical(to_document(document))
    return Inputs(document, data.decode(), sha256(data))


def variables(work: Work) -> dict[str, Any]:
    """Driver variables from validated arguments; an argument that was not given feeds nothing."""
    arguments = work.intent.get("arguments")
    if not isinstance(arguments, dict):
        raise GrantRefused("intent.arguments: must be an object")
    return {variable: arguments[name] for variable, name in work.action.variables.items() if name in arguments}


def tool_of(parts: Parts, driver: str, snapshot_sha256: str) -> tuple[str, str, str]:
    """Name, version and digest of the tool a driver runs; a driver whose sources bring their commands is its sources. Raises GrantRefused."""
    try:
        needs = [need for need in declaration(driver).tools if need.required]
    except UnknownDriver as error:
        raise GrantRefused(f"driver: {error}") from None
    if not needs:
        return "source", "1", snapshot_sha256
    tool = needs[0].name
    digest = parts.job_root.tool_digests.get(tool)
    if digest is None:
        raise GrantRefused(f"tool: {tool} is not installed on this runner; `lockgate doctor` names the fix")
    if not parts.settings.tool_allowed(tool, "sha256:" + digest):
        raise GrantRefused(f"tool: this build of {tool} (sha256:{digest}) is not among this runner's trusted ones")
    return tool, importlib.metadata.version(_DISTRIBUTIONS.get(tool, tool)), "sha256:" + digest


def drivers_served(parts: Parts) -> tuple[str, ...]:
    """The drivers this runner can run: those of its targets whose tools it has."""
    wanted = sorted({driver for target in parts.settings.targets.values() for driver in target.drivers})
    return tuple(driver for driver in wanted if _has_tools(parts, driver))


def _has_tools(parts: Parts, driver: str) -> bool:
    try:
        return all(need.name in parts.job_root.tool_digests for need in declaration(driver).tools if need.required)
    except UnknownDriver:
        return False
