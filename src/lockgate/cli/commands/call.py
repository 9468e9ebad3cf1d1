"""`lockgate call`: a small agent, over MCP with the official client. It must not use any other door."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import typer

from lockgate.cli.exits import Exit
from lockgate.cli.frame import App, Session, bad_input
from lockgate.cli.home import AGENT, gateway_url, read_token
from lockgate.contract.shown import flat, visible


def register(app: App) -> None:
    """Add the command."""
    app.add("call", speaks=True)(call)


def call(
    session: Session,
    action: Annotated[
        str | None,
        typer.Argument(help="The action, or a helper tool such as lockgate_get_operation.", show_default=False),
    ] = None,
    target: Annotated[str | None, typer.Option(help="The target to act on.", show_default=False)] = None,
    arg: Annotated[
        list[str] | None,
        typer.Option(
            "--arg",
            metavar="KEY=VALUE",
            help="An argument; the value is JSON, or text when it is not. May stand several times.",
        ),
    ] = None,
    reason: Annotated[
        str | None, typer.Option(help="Why; needed for everything that changes something.", show_default=False)
    ] = None,
    wait: Annotated[int, typer.Option(help="Seconds to wait for it to come to rest.")] = 30,
) -> Exit:
    """Call an action as an agent would; without one, list what this agent may ask for. Other reserved arguments go by --arg (dry_run=true)."""
    from lockgate.cli.agent import call_tool, list_tools
    from lockgate.cli.client import learn_unsafe

    url, token = gateway_url(session), read_token(session, AGENT)
    learn_unsafe(session, url)
    if action is None:
        tools = asyncio.run(list_tools(url, token))
        session.screen.answer({"tools": tools}, lambda out: _show_tools(out, tools))
        return Exit.OK
    arguments = read_arguments(arg or [])
    arguments |= {name: value for name, value in (("target", target), ("reason", reason)) if value is not None}
    arguments.setdefault("wait_seconds", min(wait, 60))
    answer = asyncio.run(call_tool(url, token, action, arguments))
    session.screen.answer(
        answer.view, lambda out: out.print(visible(answer.text, limit=1 << 20), markup=False, highlight=False)
    )
    return answer.exit


def read_arguments(pairs: list[str]) -> dict[str, Any]:
    """KEY=VALUE pairs as arguments. Raises Problem naming the pair."""
    arguments: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise bad_input("arg", f"--arg {pair[:60]!r}: must be KEY=VALUE")
        if key in arguments:
            raise bad_input("arg", f"--arg {key[:60]}: stands twice")
        try:
            arguments[key] = json.loads(text)
        except ValueError:
            arguments[key] = text
    return arguments


def _show_tools(out: Any, tools: list[dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("tool", "effect", "arguments", "title", box=None)
    for tool in tools:
        table.add_row(
            *(Text(flat(text)) for text in (tool["name"], tool["effect"], ", ".join(tool["arguments"]), tool["title"]))
        )
    out.print(table)
