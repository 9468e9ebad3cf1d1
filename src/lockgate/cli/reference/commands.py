"""The page of commands, from the commands themselves; it must not run one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lockgate.cli.exits import MEANING
from lockgate.cli.reference.markdown import table


def cli_page() -> str:
    """Every command with its options, and the exit codes."""
    import typer

    from lockgate.cli.main import app

    program = typer.main.get_command(app)
    parts = [
        "# Commands\n",
        "`--home` names the deployment's directory (else `$LOCKGATE_HOME`, else `~/.lockgate`); `--json` answers with one JSON document on",
        "stdout. Progress and errors go to stderr; colours only to a terminal (`NO_COLOR` is respected). Tokens come from `$LOCKGATE_TOKEN` or a",
        "0600 file under `tokens/`, never from the command line. `$LOCKGATE_URL` names another gateway.\n",
        "## Exit codes\n",
        table(
            ("code", "name", "meaning"), [(str(int(code)), code.name.lower(), text) for code, text in MEANING.items()]
        ),
    ]
    for path, command in _commands(program, "lockgate"):
        parts += [f"## {path}{_usage(command)}\n", f"{_prose(command.help)}\n"]
        rows = [
            (_names(item), _default(item), _prose(getattr(item, "help", "")))
            for item in command.params
            if not _hidden(item)
        ]
        if rows:
            parts.append(table(("option", "default", "meaning"), rows))
    return "\n".join(parts)


def _commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield path, command
        return
    for name, child in children.items():
        if not child.hidden:
            yield from _commands(child, f"{path} {name}")


def _usage(command: Any) -> str:
    words = [
        _label(item) if item.required else f"[{_label(item)}]"
        for item in command.params
        if item.param_type_name == "argument"
    ]
    return "".join(f" {word}" for word in words)


def _label(item: Any) -> str:
    return str(item.metavar or item.name.upper())


def _names(item: Any) -> str:
    if item.param_type_name == "argument":
        return _label(item)
    return ", ".join(f"`{name}`" for name in item.opts)


def _default(item: Any) -> str:
    if item.required:
        return "required"
    return "" if item.default in (None, False, "", ()) else str(item.default)


def _hidden(item: Any) -> bool:
    return bool(getattr(item, "hidden", False)) or item.name in ("help", "home", "as_json")


def _prose(text: str | None) -> str:
    return " ".join((text or "").split())
