"""Asks policy whether a human may do or see something; whatever it answers is recorded, and with what it permitted, in one transaction."""

from __future__ import annotations

from lockgate.contract.decision import Question
from lockgate.contract.intent import Principal
from lockgate.gateway.admission import decision_entry, identify
from lockgate.gateway.core import Core
from lockgate.gateway.desk import require_human
from lockgate.gateway.errors import Forbidden
from lockgate.gateway.operations.judging import parts
from lockgate.gateway.operations.model import Operation
from lockgate.gateway.operations.questions import Asked, Subject, ask
from lockgate.gateway.store.port import Append


async def permit(core: Core, principal: Principal, question: Question, operation: Operation | None) -> Asked:
    """An allow that takes effect only where its record is committed with what it permits. Raises Forbidden with the rules; that is recorded here."""
    require_human(principal)
    identify(core, principal)
    found = parts(core, operation) if operation is not None else None
    about = Subject(
        principal=principal,
        action=found[0] if found else None,
        target=found[1] if found else None,
        operation=operation.id if operation else None,
        requester=operation.principal if operation else None,
    )
    asked = await ask(core, question, about)
    if not asked.decision.allow:
        entry = decision_entry(operation.id if operation else None, principal.id, asked)
        await core.commit(Append((entry,), core.clock(), (asked.record,)))
        rules = tuple({"rule": r.rule, "title": r.title, "message": r.message, "fix": r.fix} for r in asked.reasons)
        raise Forbidden(f"Policy does not let you {question.value} here.", rules=rules, decision_id=asked.decision.id)
    return asked


async def may_view(core: Core, principal: Principal, operation: Operation | None = None) -> None:
    """A look: what is shown follows the durable record that it was permitted. Raises Forbidden, Unavailable."""
    asked = await permit(core, principal, Question.VIEW, operation)
    entry = decision_entry(operation.id if operation else None, principal.id, asked)
    await core.commit(Append((entry,), core.clock(), (asked.record,)))
