"""Checks the permit that a write credential needs, for brokers that cannot do it themselves; pure, and it must not be skipped in dev."""

from __future__ import annotations

from typing import Final

from lockgate.contract.dsse import EnvelopeError
from lockgate.contract.grant import Permit, read_permit
from lockgate.contract.intent import Phase
from lockgate.contract.keyset import Keyset
from lockgate.runner.credentials.port import BrokerRefused, CredentialRequest

RUNNER_AUDIENCE: Final = "runner"
"""The audience of a permit that the runner itself is trusted to hold its broker to."""


def check_permit(request: CredentialRequest, keyset: Keyset, audience: str = RUNNER_AUDIENCE) -> Permit:
    """The verified permit of exactly the attempt that asks, for apply, not older than it may be. Raises BrokerRefused."""
    if request.permit is None:
        raise BrokerRefused("permit: a write credential needs the permit of a committed start")
    try:
        permit = read_permit(request.permit.envelope, keyset)
    except EnvelopeError as error:
        raise BrokerRefused(f"permit: {error}") from None
    own = {
        "grant_sha256": request.grant_sha256,
        "attempt": request.attempt,
        "fence": request.fence,
        "phase": Phase.APPLY,
    }
    for field, expected in own.items():
        if getattr(permit, field) != expected:
            raise BrokerRefused(f"permit.{field}: is not this attempt's")
    if permit.audience != audience:
        raise BrokerRefused("permit.audience: is for another broker")
    # Durations only: the gateway's clock is not compared with ours.
    if not 0 <= request.permit.age_ms < permit.not_after - permit.issued_at:
        raise BrokerRefused("permit: has expired; nothing was issued")
    return permit
