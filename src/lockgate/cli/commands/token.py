"""`lockgate token`: make, revoke and look at tokens. A token is never an argument and is shown only when it is made."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from lockgate.cli.exits import Exit
from lockgate.cli.frame import App, Session, bad_input
from lockgate.cli.home import TOKEN_VARIABLE, gateway_settings, read_token, write_token
from lockgate.cli.problem import Problem

app = App("Make, revoke and look at tokens.")

Names = Annotated[
    list[str] | None, typer.Option("--role", metavar="ROLE", help="A role in the token; may stand several times.")
]


@app.add("issue")
def issue_token(
    session: Session,
    subject: Annotated[str, typer.Argument(help="Whom the token names.")],
    kind: Annotated[str, typer.Option(metavar="KIND", help="agent or human (human: dev only).")] = "agent",
    role: Names = None,
    owner: Annotated[
        str | None, typer.Option(help="Who owns this agent: a subject, or issuer#subject.", show_default=False)
    ] = None,
    ttl: Annotated[int, typer.Option(help="Seconds it is valid.")] = 3600,
    save: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Write it to tokens/NAME (0600) and do not print it.", show_default=False),
    ] = None,
) -> None:
    """Make a token with the deployment's own issuer key, offline. An agent without --owner cannot obtain approvals."""
    from lockgate.cli.issuing import Wanted, issue

    if kind not in ("agent", "human"):
        raise bad_input("kind", f"--kind {kind[:40]!r}: must be agent or human")
    wanted = Wanted(subject, human=kind == "human", roles=tuple(role or ()), owner=owner, ttl=ttl)
    token = issue(gateway_settings(session.home), wanted)
    if save is not None:
        path = write_token(session.home, save, token)
        session.screen.answer({"saved": str(path)}, lambda out: out.print(f"saved to {path}", markup=False))
        return
    session.screen.answer({"token": token}, lambda out: print(token))


@app.add("revoke", speaks=True)
def revoke_token(
    session: Session,
    reason: Annotated[str, typer.Option(help="Why; it goes into the audit log (at least 8 characters).")],
    token_id: Annotated[str | None, typer.Option("--id", help="The token's id (`jti`).", show_default=False)] = None,
    principal: Annotated[
        str | None, typer.Option(help="issuer#subject: every token it has had until now.", show_default=False)
    ] = None,
) -> None:
    """Revoke one token, or all of a principal; it counts at the next step of whatever they asked for."""
    from lockgate.cli.client import people

    if (token_id is None) == (principal is None):
        raise bad_input("id", "name exactly one of --id and --principal", "lockgate token inspect shows a token's id")
    kind, subject = ("token", token_id) if token_id is not None else ("principal", principal)
    people(session).post("/revocations", {"kind": kind, "subject": subject, "reason": reason})
    session.screen.answer(
        {"revoked": {"kind": kind, "subject": subject}},
        lambda out: out.print(f"revoked {kind} {subject}", markup=False),
    )


@app.add("inspect")
def inspect_token(
    session: Session,
    name: Annotated[
        str, typer.Argument(help=f"A file of tokens/; `-` reads stdin, without one ${TOKEN_VARIABLE}.")
    ] = "",
) -> None:
    """Show what a token says, NOT verified; the token itself is not shown."""
    from lockgate.gateway.identity.issuer import inspect

    if name == "-":
        token = sys.stdin.read(65_536).strip()
    else:
        token = read_token(Session(session.home, session.screen, name), "human")
    try:
        document = inspect(token)
    except ValueError as error:
        raise Problem(Exit.USAGE, str(error)) from None
    session.screen.answer(document, lambda out: _show(out, document))


def _show(out: Any, document: dict[str, Any]) -> None:
    from lockgate.contract.shown import flat

    out.print("not verified: this is what the token says of itself")
    for part in ("header", "claims"):
        for key, value in document[part].items():
            out.print(f"  {part}.{flat(str(key))}: {flat(str(value))}", markup=False, highlight=False)
