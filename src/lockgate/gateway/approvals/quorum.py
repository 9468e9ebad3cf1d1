"""Counts votes, whatever policy says besides: pure. It must not count a vote of anyone behind the request, an old one, or one on another plan."""

from __future__ import annotations

from lockgate.contract.decision import ApprovalObligation
from lockgate.contract.intent import Principal, PrincipalKind
from lockgate.gateway.operations.model import Operation, Vote


def identities(principal: Principal) -> frozenset[str]:
    """Every identity behind a principal: its own id, its owner's and that of whom it acts for; a bare subject is one of its own issuer."""
    return frozenset(
        item if "#" in item else f"{principal.issuer}#{item}"
        for item in (principal.id, principal.owner, principal.on_behalf_of)
        if item
    )


def counting(operation: Operation, votes: tuple[Vote, ...], now: int) -> frozenset[str]:
    """The distinct humans (ids) whose unexpired approval is of exactly the current plan and who do not stand behind the request."""
    if operation.plan is None:
        return frozenset()
    digests = (operation.plan.semantic_sha256, operation.plan.inputs_sha256)
    behind = identities(operation.principal)
    return frozenset(
        vote.voter.id
        for vote in votes
        if vote.verdict == "approve"
        and now < vote.expires_at
        and (vote.semantic_sha256, vote.inputs_sha256) == digests
        and vote.voter.kind is PrincipalKind.HUMAN
        and not identities(vote.voter) & behind
    )


def enough(operation: Operation, votes: tuple[Vote, ...], asked: ApprovalObligation | None, now: int) -> bool:
    """Whether the count that all questions so far asked for is reached; which groups they are of is policy's to say."""
    return asked is None or len(counting(operation, votes, now)) >= asked.count
