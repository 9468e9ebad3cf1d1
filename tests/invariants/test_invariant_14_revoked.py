"""Invariant 14: a revoked token, agent, claim or runner is refused at the next step, *start* included."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.invariants.gate import Gate
from tests.invariants.parties import ISSUER, NOW, agent, human

from lockgate.contract.decision import Question
from lockgate.contract.intent import Phase, Principal
from lockgate.gateway.app import Revoked
from lockgate.gateway.audit.entries import EntryDraft, EntryKind
from lockgate.gateway.errors import Forbidden, Refusal
from lockgate.gateway.identity.issuer import BuiltinIssuer, TokenRequest
from lockgate.gateway.identity.jwt import JwtVerifier
from lockgate.gateway.identity.port import Audience, Unauthenticated
from lockgate.gateway.identity.settings import IdentitySettings
from lockgate.gateway.operations.judging import judge
from lockgate.gateway.operations.states import Event
from lockgate.gateway.store.port import Control, ControlKind

OWNER = ISSUER + "#olga"
BOT = agent("bot", on_behalf_of=ISSUER + "#alice", owner=OWNER, token="the-token")
WAYS = {
    "its token": ("token", "the-token"),
    "itself": ("principal", ISSUER + "#bot"),
    "the human it acts for": ("principal", ISSUER + "#alice"),
    "its owner": ("principal", OWNER),
}
ADMIN = human("root", "admin")

every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


async def revoke(gate: Gate, way: tuple[str, str]) -> None:
    gate.clock.advance(1)
    await gate.desk.revoke(ADMIN, *way, "left the company")


async def behind_its_back(gate: Gate, way: tuple[str, str]) -> None:
    """Revoked in the store, by another gateway as it were: this one's memory still says otherwise."""
    gate.clock.advance(1)
    kind = ControlKind.REVOKE_TOKEN if way[0] == "token" else ControlKind.REVOKE_PRINCIPAL
    draft = EntryDraft(EntryKind.TOKEN_REVOKED, None, None, {"subject": way[1]})
    await gate.store.commit(Control(kind, way[1], (draft,), gate.clock()))


@every_way
async def test_a_queued_operation_of_a_revoked_caller_is_denied_at_lease(gate: Gate, way: tuple[str, str]) -> None:
    operation = await gate.ask(BOT)
    await revoke(gate, way)
    assert await gate.runner().poll() is None
    now = await gate.operation(operation)
    assert (now.state.value, now.reasons[0].rule) == ("denied", "lockgate.revoked")


@every_way
async def test_a_leased_apply_of_a_revoked_caller_does_not_start(gate: Gate, way: tuple[str, str]) -> None:
    operation = await gate.planned(await gate.ask(BOT))
    lease = await gate.runner().take()
    assert lease.grant.phase is Phase.APPLY
    await revoke(gate, way)
    assert (await gate.runner().start_apply(lease)).permit is None
    now = await gate.operation(operation)
    assert (now.state.value, now.reasons[0].rule) == ("denied", "lockgate.revoked")


@every_way
async def test_a_start_reads_revocations_in_its_own_transaction(gate: Gate, way: tuple[str, str]) -> None:
    await gate.ask(BOT)
    lease = await gate.runner().take()
    await behind_its_back(gate, way)
    assert (await gate.runner().start(lease)).permit is None


@every_way
async def test_a_start_believes_the_store_even_where_the_epoch_stood_still(gate: Gate, way: tuple[str, str]) -> None:
    """The epoch guards the cache; the transaction's own look does not rest on it."""
    await gate.ask(BOT)
    lease = await gate.runner().take()
    await behind_its_back(gate, way)
    gate.core.standing = replace(gate.core.standing, epoch=gate.core.standing.epoch + 1)
    assert (await gate.runner().start(lease)).permit is None


@every_way
async def test_a_plan_of_a_revoked_caller_goes_no_further(gate: Gate, way: tuple[str, str]) -> None:
    operation = await gate.ask(BOT)
    runner = gate.runner()
    lease = await runner.take()
    await runner.start(lease)
    await revoke(gate, way)
    from tests.invariants.parties import plan_bytes

    from lockgate.contract.intent import Stage

    assert await runner.report(lease, runner.stage(lease, Stage.PLAN, plan=plan_bytes())) == "denied"
    assert (await gate.operation(operation)).reasons[0].rule == "lockgate.revoked"


async def test_a_revoked_token_asks_for_nothing(gate: Gate) -> None:
    await revoke(gate, ("token", "the-token"))
    with pytest.raises(Forbidden, match="revoked"):
        await gate.ask(BOT)
    with pytest.raises(Forbidden, match="revoked"):
        await gate.desk.actions(BOT)
    assert (await gate.ask(agent("bot", token="another"))).state.value == "queued"


async def test_a_revoked_token_looks_at_and_cancels_nothing(gate: Gate) -> None:
    operation = await gate.ask(BOT)
    await revoke(gate, ("token", "the-token"))
    for call in (gate.desk.get(BOT, operation.id), gate.desk.cancel(BOT, operation.id)):
        with pytest.raises(Forbidden, match="revoked"):
            await call


async def test_a_revoked_token_does_not_apply_what_it_planned(gate: Gate) -> None:
    planned = await gate.planned(await gate.ask(BOT, dry_run=True))
    assert planned.plan is not None
    await revoke(gate, ("token", "the-token"))
    arguments = {"operation_id": planned.id, "semantic_sha256": planned.plan.semantic_sha256, "reason": "now"}
    with pytest.raises(Forbidden, match="revoked"):
        await gate.desk.apply_plan(BOT, arguments)


async def test_a_revoked_human_does_not_vote(gate: Gate) -> None:
    operation = await gate.pending()
    carol = human("carol")
    await revoke(gate, ("token", carol.token_id))
    with pytest.raises(Forbidden, match="revoked"):
        await gate.vote(operation, carol)
    assert (await gate.operation(operation)).state.value == "pending_approval"


async def test_a_human_revoked_after_voting_has_not_voted(gate: Gate) -> None:
    """Votes of still-authorised voters suffice, at lease and at start (TRUST §6)."""
    operation = await gate.vote(await gate.pending(), human("carol"))
    assert operation.state.value == "queued"
    await revoke(gate, ("principal", ISSUER + "#carol"))
    assert (await judge(gate.core, operation, question=Question.APPLY)).event is Event.APPROVAL_MISSING
    assert await gate.runner().poll() is None
    assert (await gate.operation(operation)).state.value == "pending_approval"


async def test_a_human_revoked_between_lease_and_start_stops_the_start(gate: Gate) -> None:
    operation, lease = await gate.applying("web-prod")
    await revoke(gate, ("token", human("carol").token_id))
    assert (await gate.runner().start_apply(lease)).permit is None
    assert (await gate.operation(operation)).state.value == "pending_approval"


async def test_a_runner_that_the_keyset_no_longer_names_gets_nothing(gate: Gate) -> None:
    await gate.ask()
    lease = await gate.runner().take()
    await gate.ask()
    keyset = gate.keys.keyset
    left = tuple(entry for entry in keyset.keys if entry.holder != "runner-1")
    gate.core.keyset = replace(keyset, keys=left)
    with pytest.raises(Refusal):
        await gate.runner().start(lease)
    with pytest.raises(Refusal):
        await gate.runner().poll()
    assert await gate.runner("runner-2").poll() is not None


def tokens(gate: Gate) -> tuple[BuiltinIssuer, JwtVerifier]:
    """A real issuer and a real verifier that looks at this gateway's standing."""
    issuer = BuiltinIssuer("lockgate:test", "https://g/mcp", "https://g/api", Ed25519PrivateKey.generate(), True)
    settings = IdentitySettings(
        "https://g/mcp", "https://g/api", (issuer.settings(roles={"operator": "operator"}),), dev=True
    )
    return issuer, JwtVerifier(settings, Revoked(gate.core))


@pytest.mark.parametrize("subject", ["the-token", "lockgate:test#bot", "lockgate:test#alice", "lockgate:test#olga"])
async def test_a_token_that_was_verified_before_is_refused_once_revoked(gate: Gate, subject: str) -> None:
    """The verifier keeps verified tokens; what it keeps does not outlive a revocation."""
    issuer, verifier = tokens(gate)
    request = TokenRequest("bot", Audience.AGENT, "the-token", owner="olga", on_behalf_of="alice", roles=("operator",))
    token = issuer.issue(request, NOW / 1000)

    def verified() -> Principal:
        return verifier.verify(token, audience=Audience.AGENT, now=gate.clock() / 1000)

    assert verified() == verified()
    kind = "token" if subject == "the-token" else "principal"
    await revoke(gate, (kind, subject))
    with pytest.raises(Unauthenticated, match="revoked"):
        verified()


async def test_a_principal_may_come_back_with_a_new_token(gate: Gate) -> None:
    issuer, verifier = tokens(gate)
    await revoke(gate, ("principal", "lockgate:test#bot"))
    gate.clock.advance(5)
    token = issuer.issue(TokenRequest("bot", Audience.AGENT, "new-token"), gate.clock() / 1000)
    assert verifier.verify(token, audience=Audience.AGENT, now=gate.clock() / 1000).token_id == "new-token"
