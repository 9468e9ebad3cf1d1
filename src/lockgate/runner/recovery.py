"""Ends what an attempt left that nobody works on any more, before a runner takes work and while it does. Idempotent; it must not retry an apply."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import structlog

from lockgate.contract.dsse import EnvelopeError
from lockgate.contract.evidence import CredentialReceipt, SandboxReceipt
from lockgate.contract.grant import read_grant
from lockgate.contract.intent import Stage
from lockgate.contract.runnerapi import ReceiptNote
from lockgate.contract.signed import envelope_sha256
from lockgate.runner.enclosure import release
from lockgate.runner.journalstate import JournaledCredential, OpenAttempt
from lockgate.runner.keeping.handing import still_out, take_back
from lockgate.runner.keeping.states import StateRefused
from lockgate.runner.parts import Parts
from lockgate.runner.run import remove_workspace
from lockgate.runner.sandbox.port import TeardownProof
from lockgate.runner.statements import Evidence, sign_receipt_for
from lockgate.wire.client import GatewayRefused, GatewayUnavailable

LOG = structlog.get_logger("lockgate.runner")
RECEIPT_SECONDS = 15.0
NO_SUCH_ATTEMPT = (404, "not_found", "attempt")
"""Status, code and field of the gateway's word that it will never take a receipt of this attempt from this runner."""


async def recover(parts: Parts) -> int:
    """Reap every sandbox of a dead process, revoke what it held, sign and send the receipts; answers how many attempts were settled."""
    proofs = {proof.sandbox_id: proof for proof in await parts.sandbox.reap(())}
    settled = await settle(parts, parts.journal.open_attempts, proofs)
    # By the launcher's own word: an attempt whose receipt was taken is in no journal any more, whatever still runs of it.
    await take_states_back(parts, all_gone=all(proof.torn_down for proof in proofs.values()))
    return settled


async def settle(parts: Parts, left: Iterable[OpenAttempt], proofs: dict[str, TeardownProof]) -> int:
    """End what these attempts left and deliver their receipts; answers how many were settled. Nothing may be running of them."""
    settled = 0
    for attempt in left:
        receipt = attempt.receipt if attempt.receipt is not None else await close_attempt(parts, attempt, proofs)
        if receipt is not None and await deliver(parts, attempt.attempt, receipt):
            settled += 1
    return settled


async def take_states_back(parts: Parts, *, all_gone: bool) -> None:
    """States that were lent to attempts of a dead process: what their tools left, taken when no sandbox is left that might write to them."""
    live = {left.attempt for left in parts.journal.open_attempts if left.sandboxes}
    for out in await asyncio.to_thread(still_out, parts.states):
        try:
            if out.attempt in live or not all_gone:
                raise StateRefused(f"state: still in {out.file}, as its sandbox is not proven gone")
            await asyncio.to_thread(take_back, parts.states, out)
            remove_workspace(parts.settings.workspaces / out.attempt)
        except (StateRefused, OSError) as error:
            # This target stays refused, and says so, until a human has looked; the others are served.
            LOG.error("state", target=out.target, attempt=out.attempt, error=str(error))


async def close_attempt(parts: Parts, left: OpenAttempt, proofs: dict[str, TeardownProof]) -> str | None:
    """Look for every sandbox of a dead process's attempt, revoke its credentials, sign what was found.

    Without a grant that still verifies there is nothing to sign for; what the attempt left is ended all the same, or kept for the next start.
    """
    evidence = await end_what_is_left(parts, left, proofs)
    remove_workspace(parts.settings.workspaces / left.attempt)
    try:
        grant = read_grant(left.grant.encode(), parts.trust.keyset)
    except EnvelopeError as error:
        LOG.error("journal", attempt=left.attempt, error=str(error))
        if evidence.torn_down and not any(item.accessor for item in left.credentials):
            parts.journal.attempt_ended(left.attempt)
        return None
    if left.told and not evidence.proven:
        LOG.error("teardown unproven", attempt=left.attempt, still=still_there(evidence))
        return None  # the gateway knows; its lock stays closed, and this is looked at again
    receipt = sign_receipt_for(parts, grant, envelope_sha256(left.grant.encode()), evidence)
    parts.journal.receipt_signed(left.attempt, receipt, proven=evidence.proven)
    return receipt


def still_there(evidence: Evidence) -> list[str]:
    """What is not proven gone, each with the checks that did not hold; for the log."""
    found = [(f"sandbox {box.sandbox}", box.checks) for box in evidence.sandboxes if not box.torn_down]
    found += [(f"enclosure {item.enclosure}", item.checks) for item in evidence.enclosures if not item.torn_down]
    said = [f"{what}: {', '.join(sorted(name for name, held in checks.items() if not held))}" for what, checks in found]
    return said + [f"credential of scope {item.scope}" for item in evidence.credentials if not item.revoked]


async def end_what_is_left(parts: Parts, left: OpenAttempt, proofs: dict[str, TeardownProof]) -> Evidence:
    """Every sandbox and credential the attempt ever had, looked for once more: a receipt that leaves one out proves nothing."""
    evidence = Evidence()
    # First, since what is left of a sandbox may be behind a node that does not answer: nothing that still runs there holds a credential that works.
    for credential in (*left.revoked, *left.credentials):
        gone = await end_credential(parts, credential)
        evidence.credentials.append(CredentialReceipt(credential.accessor or "(unknown)", credential.scope, gone))
    for sandbox in sorted(left.sandboxes | left.gone):
        proof = proofs.get(sandbox) or await parts.sandbox.destroy(sandbox)
        evidence.sandboxes.append(SandboxReceipt(sandbox, Stage.APPLY, proof.torn_down, dict(proof.checks), (), False))
        if proof.torn_down:
            parts.journal.sandbox_gone(sandbox)
    await release(parts, left.attempt, evidence)
    return evidence


async def end_credential(parts: Parts, credential: JournaledCredential) -> bool:
    """Revoke it and note that; True when it certainly is of no more use. Without an accessor the asker died between asking and hearing."""
    if credential.accessor is not None:
        gone = await parts.broker.revoke(credential.accessor)
        if gone:
            parts.journal.credential_revoked(credential.accessor)
        return gone
    gone = await parts.broker.revoke_unheard(credential.attempt, credential.scope)
    if gone:
        parts.journal.credential_not_issued(credential.attempt, credential.scope)
    return gone


async def deliver(parts: Parts, attempt: str, receipt: str) -> bool:
    """Send one receipt. It is kept for the next time unless the gateway has it or says that it knows no such attempt: the target's lock waits for it.

    Any other refusal may pass (a certificate that expired, a keyset that is renewed, a proxy's page), and a receipt that is forgotten leaves the lock
    to a human. Of one that proves nothing the attempt stays open, and is looked at again.
    """
    try:
        await parts.gateway.post(
            f"/runner/v1/attempts/{attempt}/receipt", {"receipt": ReceiptNote(receipt).receipt}, RECEIPT_SECONDS
        )
    except GatewayUnavailable as error:
        LOG.warning("receipt kept for later", attempt=attempt, error=str(error))
        return False
    except GatewayRefused as error:
        if not (error.said and (error.status, error.code, error.field) == NO_SUCH_ATTEMPT):
            LOG.error("receipt refused, kept for later", attempt=attempt, error=str(error))
            return False
        LOG.error("receipt refused for ever", attempt=attempt, error=str(error))
        parts.journal.attempt_ended(attempt)
    else:
        parts.journal.receipt_taken(attempt)
    return True
