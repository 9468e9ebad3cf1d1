"""Who refuses a runner's call: the gateway in its own words, or what only stands in the way; only the first is final, and hardly ever for a receipt."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from tests.invariants.gate import Gate
from tests.invariants.region import Region

from lockgate.contract.codec import to_document
from lockgate.contract.runnerapi import LeaseAnswer, LeaseRequest
from lockgate.runner.link import AttemptLink
from lockgate.runner.loop import RunnerLoop
from lockgate.runner.recovery import deliver
from lockgate.wire.client import GatewayRefused

IN_THE_WAY = {
    "a certificate that expired": GatewayRefused(
        "tls", "the TLS connection was refused: SSLV3_ALERT_CERTIFICATE_EXPIRED"
    ),
    "a proxy's page": GatewayRefused("http_404", "HTTP status 404", 404),
    "no JSON": GatewayRefused("bad_response", "the answer is not strict JSON", 200),
}
"""None of these is the gateway's word."""

PASSING = {
    **IN_THE_WAY,
    "a keyset that does not name this runner yet": GatewayRefused("forbidden", "is not named", 403, said=True),
    "a keyset without the key that signed": GatewayRefused(
        "bad_input", "unknown key", 400, said=True, field="envelope"
    ),
    "a gateway of another version": GatewayRefused("not_found", "no such path", 404, said=True, field="path"),
}


def refuse_once(region: Region, verb: str, refusal: GatewayRefused) -> list[str]:
    """The next call of that kind is refused; all others go through. Answers the calls of that kind, as they come."""
    post, calls = region.line.post, []

    async def refusing(path: str, document: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        if not path.endswith(verb):
            return await post(path, document, timeout)
        calls.append(path)
        if len(calls) == 1:
            raise refusal
        return await post(path, document, timeout)

    region.line.post = refusing  # type: ignore[method-assign]
    return calls


async def leased(gate: Gate, region: Region) -> Any:
    request = LeaseRequest("0123456789abcdef", ("runbook",), 0, region.journal.witness)
    return (await gate.door.lease(gate.runner().peer, request)).offer


@pytest.mark.parametrize("why", PASSING)
async def test_a_receipt_that_was_refused_for_a_while_still_frees_its_target(
    gate: Gate, region: Region, why: str
) -> None:
    await gate.ask()
    await region.work()  # the plan
    post = region.line.post
    refuse_once(region, "/receipt", PASSING[why])
    await RunnerLoop(region.parts)._attempt(await leased(gate, region))
    (left,) = region.journal.open_attempts
    assert left.receipt is not None
    region.line.post = post  # type: ignore[method-assign]
    refuse_once(region, "/receipt", PASSING[why])
    assert not await deliver(region.parts, left.attempt, left.receipt)
    assert [item.attempt for item in region.journal.open_attempts] == [left.attempt], "it is kept"
    assert await deliver(region.parts, left.attempt, left.receipt)
    assert (region.journal.open_attempts, await gate.lock_state("web-dev")) == ((), "free")


async def test_a_receipt_of_an_attempt_that_the_gateway_does_not_know_is_forgotten(gate: Gate, region: Region) -> None:
    """The gateway's own word, and final: its store began anew, or the attempt is another runner's."""
    await gate.ask()
    offer = await leased(gate, region)
    region.journal.first_sight("att_of_another_store", offer.grant)
    assert await deliver(region.parts, "att_of_another_store", "a receipt")
    assert region.journal.open_attempts == ()


@pytest.mark.parametrize("why", IN_THE_WAY)
async def test_a_report_is_told_again_when_something_stood_in_its_way(gate: Gate, region: Region, why: str) -> None:
    """An apply whose report is lost is unknown to everybody but this runner."""
    operation = await gate.ask()
    await region.work()
    refuse_once(region, "/report", IN_THE_WAY[why])
    await region.work()
    assert (await gate.operation(operation)).state.value == "succeeded"


async def test_a_heartbeat_that_something_stood_in_the_way_of_ends_no_attempt(gate: Gate, region: Region) -> None:
    """Only the lease's end or the gateway's own word ends it."""
    await gate.ask()
    said = GatewayRefused("forbidden", "is not named", 403, said=True)
    due = [*IN_THE_WAY.values(), said]
    accepted = await RunnerLoop(region.parts)._accepted(await leased(gate, region))
    assert accepted is not None

    async def refusing(path: str, document: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        raise due.pop(0)

    region.line.post = refusing  # type: ignore[method-assign]
    working = asyncio.create_task(asyncio.Event().wait())
    standing = replace(region.parts, clock=lambda: 0)  # the lease never runs out
    # Returns when it has ended the attempt.
    await AttemptLink(standing, accepted, 1, working).keep_alive()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert not due


@pytest.mark.parametrize("why", IN_THE_WAY)
async def test_a_poll_that_something_stood_in_the_way_of_is_the_same_poll_again(
    gate: Gate, region: Region, why: str
) -> None:
    """The gateway may have answered it with a lease."""
    polls: list[str] = []

    async def lease(path: str, document: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        polls.append(document["poll_id"])
        if len(polls) == 1:
            raise IN_THE_WAY[why]
        request = LeaseRequest(document["poll_id"], ("runbook",), 0, region.journal.witness)
        answer: LeaseAnswer = await gate.door.lease(gate.runner().peer, request)
        return dict(to_document(answer))

    region.line.post = lease  # type: ignore[method-assign]
    loop = RunnerLoop(region.parts)
    with pytest.raises(GatewayRefused):
        await loop._poll()
    await loop._poll()
    assert polls[0] == polls[1]
