"""A caller reaches for what is not its own: tools it was not offered, operations of others by their handle."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.invariants.gate import Gate
from tests.invariants.parties import REASON, agent, human

from lockgate.contract.intent import Principal
from lockgate.gateway.errors import NotFound, Refusal, UnknownAction
from lockgate.gateway.operations.model import Operation
from lockgate.gateway.store.port import ListOperations

Reach = Callable[[Gate, Principal, str, str], Awaitable[Any]]
DIGEST = "sha256:" + "0" * 64


def applying(gate: Gate, who: Principal, handle: str, digest: str) -> Awaitable[Operation]:
    return gate.desk.apply_plan(who, {"operation_id": handle, "semantic_sha256": digest, "reason": REASON})


REACHES: dict[str, Reach] = {
    "look": lambda gate, who, handle, _: gate.desk.get(who, handle),
    "cancel": lambda gate, who, handle, _: gate.desk.cancel(who, handle),
    "explain": lambda gate, who, handle, _: gate.desk.explain(who, handle),
    "apply its plan": applying,
}
OTHERS = {
    "another agent of the same human": agent("other"),
    "the same name for another human": agent("bot", on_behalf_of="https://idp.example#mallory"),
    "the same name for nobody": agent("bot", on_behalf_of=None),
    "a human without a role": human("mallory", "none"),
}


async def said(reach: Awaitable[Any]) -> tuple[str, str, str]:
    with pytest.raises(Refusal) as refused:
        await reach
    assert isinstance(refused.value, NotFound), refused.value
    return refused.value.code, refused.value.message, str(refused.value.fix)


@pytest.mark.parametrize("what", REACHES)
@pytest.mark.parametrize("who", OTHERS)
async def test_anothers_handle_is_as_good_as_none_at_every_tool(gate: Gate, what: str, who: str) -> None:
    planned = await gate.planned(await gate.ask(dry_run=True))
    assert planned.plan is not None
    before = await gate.kinds(planned)
    theirs = await said(REACHES[what](gate, OTHERS[who], planned.id, planned.plan.semantic_sha256))
    none = await said(REACHES[what](gate, OTHERS[who], "op_" + "a" * 26, DIGEST))
    assert theirs == none
    assert (await gate.operation(planned)).state.value == "planned"
    assert [kind for kind in await gate.kinds(planned) if kind not in before and kind != "decision.made"] == []


async def test_a_tool_that_is_not_offered_is_denied_and_runs_nowhere(gate: Gate) -> None:
    stranger = agent("stranger", roles=())
    assert await gate.desk.actions(stranger) == ()
    operation = await gate.ask(stranger)
    assert operation.state.value == "denied"
    assert await gate.runner().poll() is None


@pytest.mark.parametrize(
    "name",
    ["set_replicas ", "SET_REPLICAS", "lockgate_unlock", "../set_replicas", "set_replicas\0", "sеt_replicas", ""],
)
async def test_a_name_that_is_nearly_one_is_none(gate: Gate, name: str) -> None:
    with pytest.raises(UnknownAction):
        await gate.ask(action=name)
    assert await gate.store.read(ListOperations("default", states=(), target=None, before=None, limit=10)) == ()
