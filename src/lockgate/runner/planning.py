"""Turns a job's claim into the canonical plan: secrets masked, sensitive values replaced by keyed digests, RFC 8785 form. It must not add meaning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from lockgate.contract.canonical import canonical
from lockgate.contract.codec import to_document
from lockgate.contract.drivers import declaration
from lockgate.contract.grant import Grant
from lockgate.contract.jobchannel import MAX_CHANGES, MAX_PLAN_BYTES, JobResult
from lockgate.contract.plan import PLAN_VERSION, VOLATILE, PlanDocument
from lockgate.runner.hiding import Hider
from lockgate.runner.inputs import Inputs
from lockgate.runner.keeping.attempt import planned_by


def canonical_plan(result: JobResult, inputs: Inputs, key: bytes) -> tuple[bytes, PlanDocument]:
    """The canonical bytes and the plan they say, from a masked job result. Raises CanonicalError, ValueError for what has no such form or is too large."""
    if len(result.changes) > MAX_CHANGES:
        raise ValueError(f"it has {len(result.changes)} changes; at most {MAX_CHANGES} can be decided on")
    hider = Hider(key)
    changes = [hider.change(change) for change in result.changes]
    document = hider.document(steady(result.document)) if result.document is not None else None
    plan = PlanDocument(
        version=PLAN_VERSION,
        driver=inputs.document.driver,
        fidelity=declaration(inputs.document.driver).fidelity,
        inputs_sha256=inputs.sha256,
        resource_changes=tuple(hider.everywhere(changes)),
        incomplete=tuple(sorted(hider.text(line) for line in set(result.incomplete))),
        provisioners=tuple(sorted(hider.text(line) for line in result.provisioners)),
        providers=tuple(sorted(hider.text(line) for line in result.providers)),
        document=hider.everywhere(document),
    )
    data = canonical(to_document(plan))
    if len(data) > MAX_PLAN_BYTES:
        raise ValueError(f"its canonical form has {len(data)} bytes; at most {MAX_PLAN_BYTES} can be decided on")
    return data, plan


def steady(document: Mapping[str, Any]) -> dict[str, Any]:
    """A tool's JSON plan without the fields that differ between two plans of the same inputs and target."""
    return {name: value for name, value in document.items() if name not in VOLATILE[PLAN_VERSION]}


def plan_key(region_secret: bytes, grant: Grant, target: str) -> bytes:
    """The HMAC key of an operation's sensitive values: HKDF of region secret, tenant, target and the operation that
    planned (TRUST §2); it enters no sandbox."""
    info = "\0".join(("lockgate-plan-v1", grant.tenant, target, planned_by(grant))).encode()
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(region_secret)
