"""Argument templates: a list of arguments with `{placeholder}`s, filled in one pass; it must not let a value become an option or a script."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from lockgate.job.drivers.port import StageRefused

MAX_ARGUMENTS = 256
_PIECE = re.compile(r"\{\{|\}\}|\{([a-z][a-z0-9_]*)\}|[^{}]+", re.ASCII)
_INTERPRETERS = frozenset(
    (
        *(
            "sh",
            "bash",
            "rbash",
            "dash",
            "ash",
            "zsh",
            "ksh",
            "fish",
            "busybox",
            "eval",
            "su",
            "runuser",
            "script",
            "watch",
        ),
        *("perl", "ruby", "python", "node", "nodejs", "php", "lua", "tclsh", "pwsh"),
        *("awk", "gawk", "mawk", "nawk", "sed", "gsed", "env", "xargs", "sudo", "nohup", "setsid", "ssh"),
    )
)
"""What runs its first operand, or the text after an option: a script, a file of one, or another command."""
_VERSION = re.compile(r"[0-9.]+\Z")
_SCRIPT_OPTION = re.compile(r"-[A-Za-z]*[ceEr][A-Za-z]*|--(eval|command|expression|print|run)")


@dataclass(frozen=True, slots=True)
class Piece:
    """Literal text, or the name of the parameter whose value stands here."""

    text: str
    is_value: bool


@dataclass(frozen=True, slots=True)
class Template:
    """A command: each argument a sequence of pieces; the first is literal."""

    arguments: tuple[tuple[Piece, ...], ...]
    field: str

    def render(self, values: Mapping[str, str]) -> list[str]:
        """The argument list with values filled in, each once, never looked at again. Raises StageRefused: a value would read as an option."""
        argv: list[str] = []
        options_ended = wrapping = False
        for pieces in self.arguments:
            text = "".join(values[piece.text] if piece.is_value else piece.text for piece in pieces)
            if pieces and pieces[0].is_value and text.startswith("-") and not options_ended:
                raise StageRefused(
                    f"variables.{pieces[0].text}: begins with '-' and would read as an option; "
                    f'put "--" before it in {self.field}, or write --option={{{pieces[0].text}}}'
                )
            literal = _literal(pieces)
            # `env -- rm` ends the options of env, not those of rm.
            options_ended = options_ended or (literal == "--" and not wrapping)
            if literal is None or not literal.startswith("-"):
                wrapping = literal is not None and _interprets(literal)
            argv.append(text)
        return argv


def read_template(declared: Any, parameters: frozenset[str], field: str) -> Template:
    """A declared command. Raises StageRefused naming `field`."""
    if not isinstance(declared, list) or not declared or not all(isinstance(item, str) for item in declared):
        raise StageRefused(f"{field}: must be a list of strings: the command and its arguments; there is no shell")
    if len(declared) > MAX_ARGUMENTS:
        raise StageRefused(f"{field}: has more than {MAX_ARGUMENTS} arguments")
    arguments = tuple(_pieces(item, parameters, f"{field}[{index}]") for index, item in enumerate(declared))
    if any(piece.is_value for piece in arguments[0]) or not _literal(arguments[0]):
        raise StageRefused(f"{field}[0]: the command itself cannot hold a placeholder")
    _refuse_scripts(arguments, field)
    return Template(arguments, field)


def _pieces(text: str, parameters: frozenset[str], field: str) -> tuple[Piece, ...]:
    pieces: list[Piece] = []
    position = 0
    while position < len(text):
        match = _PIECE.match(text, position)
        if match is None:
            raise StageRefused(
                f"{field}: a lone brace at character {position + 1}; a placeholder is {{name}}, a literal brace {{{{ or }}}}"
            )
        name = match.group(1)
        if name is not None and name not in parameters:
            raise StageRefused(f"{field}: {{{name}}} is not a parameter of the task")
        literal = match.group(0)
        pieces.append(
            Piece(name, True) if name is not None else Piece(literal[0] if literal in ("{{", "}}") else literal, False)
        )
        position = match.end()
    return tuple(pieces)


def _literal(pieces: tuple[Piece, ...]) -> str | None:
    return None if any(piece.is_value for piece in pieces) else "".join(piece.text for piece in pieces)


def _interprets(literal: str) -> bool:
    return _VERSION.sub("", PurePosixPath(literal).name) in _INTERPRETERS


def _refuse_scripts(arguments: tuple[tuple[Piece, ...], ...], field: str) -> None:
    """A value inside the script of `sh -c`, as the program of `awk`, or as what `env` runs would be code. Positional arguments after the script are the
    way. `running`: the next operand is what the command runs; `script_due`: it is a script, since an option said so."""
    running = seen = _interprets(_literal(arguments[0]) or "")
    remote = PurePosixPath(_literal(arguments[0]) or "").name == "ssh"
    script_due = False
    for index, pieces in enumerate(arguments[1:], start=1):
        literal = _literal(pieces)
        start = pieces[0].text if pieces and not pieces[0].is_value else ""
        if start.startswith("-"):
            found = _SCRIPT_OPTION.match(start) if literal is None else _SCRIPT_OPTION.fullmatch(start)
            scripts = seen and found is not None
            script_due = script_due or (scripts and literal is not None)
            refused = scripts and literal is None
        else:
            # What ssh is given after the host is put together for the shell of the other side.
            given = running and _assigns(start)
            refused = literal is None and not given and (running or script_due or remote)
            if literal is not None and script_due:
                return
            seen = seen or _interprets(literal or "")
            running = given or (running and _interprets(literal or ""))
        if refused:
            raise StageRefused(
                f"{field}[{index}]: a value cannot stand in a script; pass it as an argument after the script"
            )


def _assigns(start: str) -> bool:
    """Whether an argument is a variable for what is run, as `env` and `awk -v` take it."""
    return re.match(r"[A-Za-z_][A-Za-z0-9_]*=", start) is not None


def resolve_command(command: str, source: Path, scratch: Path, field: str) -> str:
    """The absolute path of a command: a file of the sealed source, or one of the system. Raises StageRefused naming `field`."""
    pure = PurePosixPath(command)
    if ".." in pure.parts:
        raise StageRefused(f"{field}[0]: {command!r} leaves the source; .. is not allowed")
    path = Path(command) if pure.is_absolute() else source / command
    if pure.is_absolute() and path.is_relative_to(scratch):
        raise StageRefused(f"{field}[0]: {command!r} lies in the scratch directory, which is not sealed")
    if not path.is_file():
        where = "on this system" if pure.is_absolute() else "in the source (a system command needs its absolute path)"
        raise StageRefused(f"{field}[0]: there is no {command!r} {where}")
    if not path.stat().st_mode & 0o111:
        raise StageRefused(f"{field}[0]: {command!r} is not executable")
    return str(path)
