"""A decision record in the schema of OPA's decision log, so that whatever reads OPA's reads ours; pure, and it must not show what a record left out.

https://www.openpolicyagent.org/docs/management-decision-logs: one JSON object a decision. What OPA has no field for stands under `custom`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from lockgate.contract.decision import ENGINE_FAULTS, Question
from lockgate.gateway.operations.model import DecisionRecord
from lockgate.gateway.operations.records import record_document
from lockgate.policy.compile import entrypoint

BUNDLE: Final = "lockgate"


def opa_event(record: DecisionRecord, deployment: str) -> dict[str, Any]:
    """`labels.id` is the deployment; `masked` names hidden and masked values alike, below `/input`, and `custom.hidden` those that policy did not see.

    An engine's own denial has an `error` and no `result`, as with OPA. An input that is no longer kept is named in `erased`.
    """
    found = record_document(record)
    engine, version = found["engine"], found["engine_version"]
    document = found["input"] if isinstance(found["input"], dict) else None
    subject = document.get("subject", {}) if document is not None else {}
    event: dict[str, Any] = {
        "type": "openpolicyagent.org/decision_logs",
        "decision_id": record.id,
        "labels": {"app": "lockgate", "engine": engine, "id": deployment, "version": version},
        "bundles": {BUNDLE: {"revision": record.revision}},
        "path": entrypoint(Question(record.question)),
        "timestamp": _rfc3339(record.at),
        "metrics": {"timer_server_handler_ns": (found["duration_us"] or 0) * 1000},
        "custom": {
            "tenant": record.tenant,
            "operation": record.operation,
            "question": record.question,
            "input_sha256": found["input_sha256"],
            "hidden": [f"/input{pointer}" for pointer in record.hidden],
        },
    }
    if document is not None:
        event["input"] = document
    else:
        event["erased"] = ["/input"]
        event["custom"]["input_problem"] = found["input_problem"]
    if isinstance(subject.get("id"), str):
        event["requested_by"] = subject["id"]
    if record.hidden or record.masked:
        event["masked"] = [f"/input{pointer}" for pointer in sorted({*record.hidden, *record.masked})]
    return event | _answer(record)


def _answer(record: DecisionRecord) -> dict[str, Any]:
    """What the policy's own document said (policy output v1), or the engine's error."""
    said = record.document
    violations = said.get("violations", [])
    fault = next((item for item in violations if item["rule"] in ENGINE_FAULTS), None)
    if fault is not None:
        problem = fault["details"].get("problem")
        return {"error": {"code": fault["rule"], "message": f"{fault['message']} {problem or ''}".strip()}}
    own = [item for item in violations if item["rule"] != "lockgate.engine.no_allow"]
    result: dict[str, Any] = {
        "allow": record.allow,
        "violations": [{"rule": item["rule"], "details": item["details"]} for item in own],
        "obligations": said.get("obligations", {}),
    }
    if "readings" in said:
        result["readings"] = said["readings"]
    return {"result": result}


def _rfc3339(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
