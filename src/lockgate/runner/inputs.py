"""Makes the inputs document: everything a stage runs on, by value or digest. Arguments are data: mapped to variables, never rendered into text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lockgate.contract.canonical import canonical, sha256
from lockgate.contract.codec import to_document
from lockgate.contract.evidence import ToolIdentity
from lockgate.contract.state import StateMark
from lockgate.contract.work import InputsDocument, Work
from lockgate.runner.acceptance import GrantRefused
from lockgate.runner.equipment import Equipment
from lockgate.runner.parts import Parts


@dataclass(frozen=True, slots=True)
class Inputs:
    """The document, its exact text and digest."""

    document: InputsDocument
    text: str
    sha256: str


def build_inputs(
    parts: Parts, work: Work, equipment: Equipment, snapshot_sha256: str, state: StateMark | None
) -> Inputs:
    """The inputs of every stage of an attempt. Raises GrantRefused when the intent's arguments are no object."""
    # A driver whose sources bring their commands is its sources.
    tool = equipment.tool or ToolIdentity("source", "1", snapshot_sha256)
    document = InputsDocument(
        version=1,
        driver=work.target.driver,
        entry=work.action.entry,
        variables=variables(work),
        settings=dict(work.target.settings),
        snapshot_sha256=snapshot_sha256,
        tool_name=tool.name,
        tool_version=tool.version,
        tool_sha256=tool.sha256,
        job_sha256="sha256:" + parts.job_root.digest,
        providers=dict(equipment.providers),
        state=state,
    )
    data = canonical(to_document(document))
    return Inputs(document, data.decode(), sha256(data))


def variables(work: Work) -> dict[str, Any]:
    """Driver variables from validated arguments; an argument that was not given feeds nothing."""
    arguments = work.intent.get("arguments")
    if not isinstance(arguments, dict):
        raise GrantRefused("intent.arguments: must be an object")
    return {variable: arguments[name] for variable, name in work.action.variables.items() if name in arguments}
