"""`lockgate operation`: look at operations and decide on them, over REST. Votes carry exactly the digests that were shown."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from lockgate.cli.exits import Exit
from lockgate.cli.frame import App, Session, bad_input
from lockgate.cli.problem import Problem

app = App("Look at operations, approve, reject, cancel and resolve them.")
Id = Annotated[str, typer.Argument(metavar="OPERATION", help="An operation's id.")]
Reason = Annotated[str, typer.Option(help="Why; it goes into the audit log (at least 8 characters).")]
OUTCOMES = {
    "succeeded": Exit.OK,
    "planned": Exit.OK,
    "denied": Exit.FAILED,
    "failed": Exit.FAILED,
    "cancelled": Exit.FAILED,
    "expired": Exit.FAILED,
}
POLL_SECONDS = 20


@app.add("list", speaks=True)
def list_operations(
    session: Session,
    state: Annotated[
        list[str] | None, typer.Option(help="Only these states; may stand several times.", show_default=False)
    ] = None,
    target: Annotated[str | None, typer.Option(help="Only this target.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(help="At most so many, 1 to 200.")] = 20,
    before: Annotated[str | None, typer.Option(help="Only older than this operation.", show_default=False)] = None,
) -> None:
    """Operations, newest first."""
    from lockgate.cli.client import people
    from lockgate.cli.show.operations import operations_table

    found = people(session).get("/operations", state=state or None, target=target, limit=limit, before=before)
    session.screen.answer(found, lambda out: out.print(operations_table(found["operations"])))


@app.add("show", speaks=True)
def show_operation(session: Session, operation: Id) -> None:
    """Everything recorded about one operation: state, plan, decisions, votes, attempts, receipts."""
    from lockgate.cli.client import people
    from lockgate.cli.show.operations import operation_text

    details = people(session).get(f"/operations/{operation}/details")
    session.screen.answer(details, lambda out: out.print(operation_text(details)))


@app.add("watch", speaks=True)
def watch_operation(
    session: Session,
    operation: Id,
    seconds: Annotated[int, typer.Option("--timeout", help="Give up after so many seconds.")] = 600,
) -> Exit:
    """Follow an operation until it ends; the exit code says how. Under --json one document per change."""
    import time

    from lockgate.cli.client import people
    from lockgate.cli.show.operations import one_line

    client, end, last = people(session), time.monotonic() + seconds, ("", "", "")
    if not session.screen.as_json:
        session.screen.warn_unsafe()
    while True:
        left = end - time.monotonic()
        wait = 1 if not last[0] else max(0, min(POLL_SECONDS, int(left)))
        found = client.get(f"/operations/{operation}", wait_seconds=wait)
        now = (found["status"], str(found["phase"]), str(found["waiting_for"]))
        if now != last:
            last = now
            if session.screen.as_json:
                session.screen.emit(found)
            else:
                session.screen.out.print(one_line(found), markup=False, highlight=False)
        if found["final"]:
            return OUTCOMES[found["status"]]
        if left <= 0:
            return Exit.WAITING


@app.add("cancel", speaks=True)
def cancel_operation(session: Session, operation: Id) -> None:
    """Cancel an operation; one that is being applied runs to its end."""
    from lockgate.cli.client import people

    _answer_operation(session, people(session).post(f"/operations/{operation}/cancel", {}))


@app.add("resolve", speaks=True)
def resolve_operation(
    session: Session,
    operation: Id,
    outcome: Annotated[
        str,
        typer.Option(metavar="OUTCOME", help="What you found at the target: succeeded, failed_none or failed_partial."),
    ],
    reason: Reason,
) -> None:
    """End an indeterminate operation by what a person found to be true."""
    from lockgate.cli.client import people

    if outcome not in ("succeeded", "failed_none", "failed_partial"):
        raise bad_input("outcome", f"--outcome {outcome[:40]!r}: must be succeeded, failed_none or failed_partial")
    body = {"outcome": outcome, "reason": reason}
    _answer_operation(session, people(session).post(f"/operations/{operation}/resolve", body))


Digest = Annotated[
    str | None,
    typer.Option(
        metavar="SEMANTIC", help="semantic_sha256 of the plan you saw; needed with --yes.", show_default=False
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask; --digest must name the plan.")]
Comment = Annotated[str, typer.Option(help="What to record with the vote.")]


@app.add("approve", speaks=True)
def approve_operation(
    session: Session, operation: Id, digest: Digest = None, yes: Yes = False, comment: Comment = ""
) -> None:
    """Show the plan and approve exactly what was shown."""
    _vote(session, operation, {"verdict": "approve", "comment": comment}, digest, yes)


@app.add("reject", speaks=True)
def reject_operation(
    session: Session, operation: Id, digest: Digest = None, yes: Yes = False, comment: Comment = ""
) -> None:
    """Show the plan and reject it: the operation ends."""
    _vote(session, operation, {"verdict": "reject", "comment": comment}, digest, yes)


def _vote(session: Session, operation: str, vote: dict[str, Any], digest: str | None, yes: bool) -> None:
    """Fetch, show, ask, then send the digests of what was fetched and shown: never of anything newer."""
    from lockgate.cli.client import people
    from lockgate.cli.show.plans import plan_text

    if yes and digest is None:
        raise bad_input("digest", "--yes needs --digest: name the plan you saw", f"lockgate operation show {operation}")
    client = people(session)
    details = client.get(f"/operations/{operation}/details")
    if details["operation"]["plan"] is None:
        raise Problem(Exit.CONFLICT, f"it has no plan: it is {details['operation']['status']}")
    digests = details["operation"]["plan"]["digests"]
    if digest is not None and digest != digests["semantic_sha256"]:
        raise Problem(
            Exit.CONFLICT,
            f"the plan is now {digests['semantic_sha256']}, not the one you named; no vote was sent",
            fix=f"lockgate operation show {operation}",
        )
    session.screen.err.print(plan_text(details))
    if not yes:
        _ask(session, vote["verdict"], operation, digests["semantic_sha256"])
    sent = {name: digests[name] for name in ("semantic_sha256", "inputs_sha256")}
    _answer_operation(session, client.post(f"/operations/{operation}/votes", {**vote, "digests": sent}))


def _ask(session: Session, verdict: str, operation: str, digest: str) -> None:
    if not session.screen.interactive:
        raise Problem(
            Exit.USAGE,
            "there is no terminal to ask on; no vote was sent",
            fix=f"lockgate operation {verdict} {operation} --yes --digest {digest}",
        )
    if not typer.confirm(f"{verdict} exactly this plan?"):
        raise Problem(Exit.INTERRUPTED, "no vote was sent")


def _answer_operation(session: Session, found: dict[str, Any]) -> None:
    from lockgate.cli.show.operations import one_line

    session.screen.answer(found, lambda out: out.print(one_line(found), markup=False, highlight=False))
