"""Turns a job's claim into the canonical plan: secrets masked, sensitive values replaced by keyed digests, RFC 8785 form. It must not add meaning."""

from __future__ import annotations

import hmac
from hashlib import sha256 as sha256_hash
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from lockgate.contract.canonical import canonical
from lockgate.contract.codec import to_document
from lockgate.contract.drivers import declaration
from lockgate.contract.grant import Grant
from lockgate.contract.jobchannel import JobResult
from lockgate.contract.plan import PlanDocument
from lockgate.runner.inputs import Inputs
from lockgate.runner.keeping.attempt import planned_by

_MAX_DEPTH = 64


def canonical_plan(result: JobResult, inputs: Inputs, key: bytes) -> tuple[bytes, PlanDocument]:
    """The canonical bytes and the plan they say, from a masked job result. Raises CanonicalError, ValueError for what has no such form."""
    plan = PlanDocument(
        version=1,
        driver=inputs.document.driver,
        fidelity=declaration(inputs.document.driver).fidelity,
        inputs_sha256=inputs.sha256,
        resource_changes=tuple(hide_sensitive(change, key) for change in result.changes),
        incomplete=tuple(sorted(set(result.incomplete))),
        provisioners=tuple(sorted(result.provisioners)),
        providers=tuple(sorted(result.providers)),
        document=result.document,
    )
    return canonical(to_document(plan)), plan


def plan_key(region_secret: bytes, grant: Grant, target: str) -> bytes:
    """The HMAC key of an operation's sensitive values: HKDF of region secret, tenant, target and the operation that
    planned (TRUST §2); it enters no sandbox."""
    info = "\0".join(("lockgate-plan-v1", grant.tenant, target, planned_by(grant))).encode()
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(region_secret)


def hide_sensitive(change: dict[str, Any], key: bytes) -> dict[str, Any]:
    """A resource change whose values marked in `before_sensitive` and `after_sensitive` (Terraform's format) are keyed digests."""
    body = change.get("change")
    if not isinstance(body, dict):
        return change
    hidden = dict(body)
    for side in ("before", "after"):
        if side in body:
            hidden[side] = _hide(body[side], body.get(f"{side}_sensitive", False), key, _MAX_DEPTH)
    return {**change, "change": hidden}


def _hide(value: Any, mark: Any, key: bytes, depth: int) -> Any:
    if mark is True or depth == 0:
        return None if value is None else "hmac-sha256:" + hmac.new(key, canonical(value), sha256_hash).hexdigest()
    if isinstance(mark, dict) and isinstance(value, dict):
        return {name: _hide(item, mark.get(name, False), key, depth - 1) for name, item in value.items()}
    if isinstance(mark, list) and isinstance(value, list):
        marks = [*mark, *([False] * (len(value) - len(mark)))]
        return [_hide(item, one, key, depth - 1) for item, one in zip(value, marks, strict=False)]
    return value
