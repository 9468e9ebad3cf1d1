"""Plans: their digests, and the summary anyone can recompute from the canonical bytes; it must not believe a reported summary."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from lockgate.contract.canonical import CanonicalError, canonical, sha256
from lockgate.contract.codec import DocumentError, from_document
from lockgate.contract.jobchannel import MAX_CHANGES, MAX_PLAN_BYTES

PLAN_VERSION = 2
VOLATILE: Mapping[int, frozenset[str]] = {2: frozenset({"timestamp"})}
"""By version of the canonical plan: what of a tool's JSON is left out because two plans of the same inputs and target differ in it."""


class Fidelity(StrEnum):
    """Exact: a plan file is applied. Predicted: check mode says what it expects, and sealed inputs are applied."""

    EXACT = "exact"
    PREDICTED = "predicted"


@dataclass(frozen=True, slots=True)
class PlanDigests:
    """`file_sha256`: the bytes that will be applied (for predicted fidelity: the inputs document); `inputs_sha256`: sealed inputs;
    `semantic_sha256`: the canonical plan."""

    file_sha256: str
    inputs_sha256: str
    semantic_sha256: str


@dataclass(frozen=True, slots=True)
class PlanSummary:
    """Counts of resources by what would happen to them."""

    create: int
    update: int
    delete: int
    replace: int

    @property
    def empty(self) -> bool:
        """True when nothing would change."""
        return not (self.create or self.update or self.delete or self.replace)


@dataclass(frozen=True, slots=True)
class PlanDocument:
    """The canonical plan that policy, approvers and evidence see. `resource_changes` keeps Terraform's JSON plan format; `document` is the rest
    of the tool's JSON plan, for exact fidelity alone."""

    version: int
    driver: str
    fidelity: Fidelity
    inputs_sha256: str
    resource_changes: tuple[dict[str, Any], ...]
    incomplete: tuple[str, ...]
    provisioners: tuple[str, ...]
    providers: tuple[str, ...]
    document: dict[str, Any] | None = None

    @property
    def summary(self) -> PlanSummary:
        """Recomputed from `resource_changes`. Of a plan that changes outputs alone each output counts as an update: applying it is not nothing."""
        counted = summarise(self.resource_changes)
        return replace(counted, update=_outputs_changed(self.document or {})) if counted.empty else counted


def summarise(changes: Iterable[Mapping[str, Any]]) -> PlanSummary:
    """Count changes by Terraform's action lists; a delete is also found inside a replace. Raises DocumentError.

    What only moves to another address or is imported changes no resource, and its state all the same: an update.
    """
    create = update = delete = replace = 0
    for index, change in enumerate(changes):
        actions = _actions(change, index)
        if "delete" in actions and "create" in actions:
            replace += 1
        elif "delete" in actions or "forget" in actions:
            delete += 1
        elif "create" in actions:
            create += 1
        elif "update" in actions or _state_alone(change):
            update += 1
    return PlanSummary(create, update, delete, replace)


def _state_alone(change: Mapping[str, Any]) -> bool:
    return bool(change.get("previous_address") or change["change"].get("importing"))


def _outputs_changed(document: Mapping[str, Any]) -> int:
    """How many outputs would change; one that does not say so plainly counts."""
    outputs = document.get("output_changes")
    if not isinstance(outputs, Mapping):
        return 0 if outputs is None else 1
    return sum(not isinstance(item, Mapping) or item.get("actions") != ["no-op"] for item in outputs.values())


_KNOWN_ACTIONS = frozenset({"create", "update", "delete", "read", "no-op", "forget"})


def _actions(change: Mapping[str, Any], index: int) -> frozenset[str]:
    body = change.get("change")
    actions = body.get("actions") if isinstance(body, Mapping) else None
    if not isinstance(actions, list) or not actions or not set(map(str, actions)) <= _KNOWN_ACTIONS:
        raise DocumentError(f"resource_changes[{index}].change.actions", f"must be a list of {sorted(_KNOWN_ACTIONS)}")
    return frozenset(actions)


def read_plan(data: bytes) -> PlanDocument:
    """Parse canonical plan bytes received from a runner; they must be in canonical form. Raises DocumentError."""
    from lockgate.contract.strictjson import StrictJSONError, loads

    try:
        value = loads(data, max_bytes=MAX_PLAN_BYTES, max_depth=64)
    except StrictJSONError as error:
        raise DocumentError("plan", str(error)) from None
    plan = from_document(PlanDocument, value, "plan")
    if len(plan.resource_changes) > MAX_CHANGES:
        raise DocumentError("plan.resource_changes", f"more than {MAX_CHANGES} changes")
    try:
        written = canonical(value)
    except CanonicalError as error:
        raise DocumentError("plan", str(error)) from None
    if written != data:
        raise DocumentError("plan", "is not in RFC 8785 form")
    summarise(plan.resource_changes)
    return plan


def plan_digests(plan_bytes: bytes, plan: PlanDocument, file_sha256: str | None = None) -> PlanDigests:
    """The three digests of a canonical plan; `file_sha256` is the plan file's (exact), or None, and then the inputs' (predicted). Raises ValueError."""
    if (plan.fidelity is Fidelity.EXACT) != (file_sha256 is not None):
        raise ValueError("file_sha256: a plan of exact fidelity has a plan file, and no other has")
    return PlanDigests(file_sha256 or plan.inputs_sha256, plan.inputs_sha256, sha256(plan_bytes))
