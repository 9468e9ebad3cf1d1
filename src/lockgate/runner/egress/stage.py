"""What a stage's proxy is told and what is kept of its notes; a grant may only name what the target's own settings list (see admit)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

import structlog

from lockgate.contract.evidence import TunnelReceipt
from lockgate.contract.intent import Stage
from lockgate.contract.redaction import Redactor
from lockgate.contract.shown import flat
from lockgate.runner.acceptance import Accepted
from lockgate.runner.egress.rules import MAX_HOST, EgressRules
from lockgate.runner.egress.tunnels import TunnelNote
from lockgate.runner.settings import RunnerSettings

LOG = structlog.get_logger("lockgate.runner")
_MAX_WORD: Final = 64


def rules_for(settings: RunnerSettings, accepted: Accepted, stage: Stage) -> EgressRules | None:
    """The rules of a stage's proxy; None when it has no way out: no destination was granted, or it is derive (TRUST §2)."""
    granted = accepted.grant.egress
    if stage is Stage.DERIVE or not granted:
        return None
    target = accepted.target
    gateway = urlsplit(settings.gateway).hostname or ""
    return EgressRules(granted, target.egress_private, (gateway,), target.egress_limits.limits)


def receipts_of(sandbox: str, notes: Iterable[TunnelNote], redactor: Redactor) -> tuple[TunnelReceipt, ...]:
    """Every tunnel for the receipt, each logged by name. What was asked for is hostile text: masked, visible, bounded."""
    receipts = []
    for note in notes:
        host = flat(redactor.text(note.host), limit=MAX_HOST)
        outcome = flat(note.outcome, limit=_MAX_WORD)
        kept = TunnelReceipt(host, note.port, flat(note.address, limit=_MAX_WORD), note.sent, note.received, outcome)
        LOG.info("tunnel", sandbox=sandbox, host=host, port=kept.port, address=kept.address, sent=kept.sent,
                 received=kept.received, outcome=outcome)  # fmt: skip
        receipts.append(kept)
    return tuple(receipts)
