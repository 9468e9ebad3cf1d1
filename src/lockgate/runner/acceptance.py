"""The runner's own look at a grant before anything is touched: signature, digests, its own configuration, expiry, replay. Each check raises."""

from __future__ import annotations

from dataclasses import dataclass

from lockgate.contract.canonical import digest
from lockgate.contract.codec import to_document
from lockgate.contract.dsse import EnvelopeError
from lockgate.contract.grant import Grant, read_grant
from lockgate.contract.keyset import Keyset
from lockgate.contract.runnerapi import LeaseOffer
from lockgate.contract.signed import envelope_sha256
from lockgate.contract.work import Work
from lockgate.runner.admit import OutsideConfiguration, admit
from lockgate.runner.settings import RunnerSettings, TargetSettings


class GrantRefused(Exception):
    """The runner will not act on this grant; `reason` names the field. A retry with the same grant fails again."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Accepted:
    """A grant this runner is willing to act on, until `deadline` (CLOCK_BOOTTIME ms)."""

    grant: Grant
    envelope: str
    grant_sha256: str
    work: Work
    target: TargetSettings
    deadline: int


def accept(settings: RunnerSettings, keyset: Keyset, offer: LeaseOffer, now: int) -> Accepted:
    """Every check of a grant that needs no memory. `now`: CLOCK_BOOTTIME ms. Raises GrantRefused."""
    # 1. The grant is signed by a grant key of the pinned keyset, for this deployment.
    try:
        grant = read_grant(offer.grant.encode(), keyset)
    except EnvelopeError as error:
        raise GrantRefused(f"grant: {error}") from None
    # 2. What came beside it is what it names.
    check_digests(grant, offer.work)
    # 3. It has not expired: both times are the gateway's, no clock is compared with another machine's.
    left = grant.not_after - offer.now
    if left <= 0 or grant.issued_at > offer.now:
        raise GrantRefused("not_after: the grant has expired or is not from now")
    # 4. It stays inside what this runner's own configuration gives (TRUST §3).
    try:
        target = admit(settings, grant, offer.work)
    except OutsideConfiguration as error:
        raise GrantRefused(str(error)) from None
    return Accepted(grant, offer.grant, envelope_sha256(offer.grant.encode()), offer.work, target, now + left)


def check_digests(grant: Grant, work: Work) -> None:
    """Action, target and intent are those the grant names by digest. Raises GrantRefused."""
    named = {
        "action_sha256": (grant.action_sha256, to_document(work.action)),
        "target_sha256": (grant.target_sha256, to_document(work.target)),
        "intent_sha256": (grant.intent_sha256, work.intent),
    }
    for field, (expected, document) in named.items():
        if digest(document) != expected:
            raise GrantRefused(f"{field}: is not the digest of what came with the grant")
    said = {"action": work.action.name, "target": work.target.name}
    for field, name in said.items():
        if work.intent.get(field) != name:
            raise GrantRefused(f"intent.{field}: is not the {field} that came with the grant")
