"""Notes and plans of a runner that fit their types and still are no good: refused by name, never a fault of the gateway."""

from __future__ import annotations

import pytest
from tests.invariants.gate import Gate

from lockgate.contract.codec import DocumentError
from lockgate.contract.plan import read_plan
from lockgate.contract.runnerapi import CredentialNote
from lockgate.gateway.errors import BadInput


@pytest.mark.parametrize(
    ("event", "scope", "accessor", "field"),
    [
        ("issued", "write", "a" * 257, "accessor"),
        ("revoked", "write", "a" * 100_000, "accessor"),
        ("issued", "write", None, "accessor"),
        ("issued", "write", "", "accessor"),
        ("issued", "w" * 100_000, "a", "scope"),
    ],
)
async def test_a_credential_is_named_and_shortly(
    gate: Gate, event: str, scope: str, accessor: str | None, field: str
) -> None:
    _, lease = await gate.applied()
    peer, fence = gate.runner().peer, lease.grant.fence
    with pytest.raises(BadInput) as refused:
        await gate.door.credential(peer, lease.attempt, CredentialNote(fence, event, scope, accessor, None))
    assert refused.value.field == field
    await gate.door.credential(peer, lease.attempt, CredentialNote(fence, "issued", "write", "a" * 256, None))


def test_a_plan_without_a_canonical_form_is_no_plan() -> None:
    text = b"""{"version": 1, "driver": "runbook", "fidelity": "predicted", "inputs_sha256": "x", "incomplete": [],
        "provisioners": [], "providers": [], "document": null, "resource_changes": [{"change": {"actions": ["update"], "after": 9007199254740994.0}}]}"""
    with pytest.raises(DocumentError, match="canonical") as refused:
        read_plan(text)
    assert refused.value.field == "plan"
