"""Decision records as documents for people and tools, and as what a replay takes; pure, and it must not show what a record left out."""

from __future__ import annotations

from typing import Any

import orjson

from lockgate.contract.decision import Decision
from lockgate.gateway.operations.inputs import InputDamaged
from lockgate.gateway.operations.model import DecisionRecord
from lockgate.policy.replay import Recorded


def record_document(record: DecisionRecord, *, inputs: bool = True) -> dict[str, Any]:
    """A record as JSON: `input` is null where it is no longer kept (or not asked for), `input_problem` says why it cannot be shown.

    `hidden` and `masked` are JSON pointers: policy did not see the former; it saw the latter, and the record does not hold them.
    """
    said = record.document
    engine, _, version = str(said.get("engine", "")).partition("/")
    document: dict[str, Any] = {
        "id": record.id,
        "at": record.at,
        "tenant": record.tenant,
        "operation": record.operation,
        "question": record.question,
        "allow": record.allow,
        "revision": record.revision,
        "engine": engine,
        "engine_version": version,
        "duration_us": said.get("duration_us"),
        "violations": said.get("violations", []),
        "obligations": said.get("obligations", {}),
        "input_sha256": said.get("input_sha256"),
        "hidden": list(record.hidden),
        "masked": list(record.masked),
    }
    if inputs:
        document["input"], document["input_problem"] = _input(record)
    return document


def recorded(record: DecisionRecord) -> Recorded:
    """What a replay takes. Raises InputDamaged, and ValueError when the document is no decision."""
    try:
        decision = Decision.from_document(record.document)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the record {record.id} holds no decision: {error}") from None
    return Recorded(decision, record.input.data() if record.input is not None else None, record.masked)


def _input(record: DecisionRecord) -> tuple[Any, str | None]:
    if record.input is None:
        return None, "it is no longer kept"
    try:
        return orjson.loads(record.input.data()), None
    except (InputDamaged, orjson.JSONDecodeError) as error:
        return None, str(error)
