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
    [
        "sh",
        "bash",
        "dash",
        "ash",
        "zsh",
        "ksh",
        "fish",
        "busybox",
        "python",
        "python3",
        "perl",
        "ruby",
        "node",
        "awk",
        "sed",
        "eval",
        "env",
    ]
)
_SCRIPT_OPTION = re.compile(r"-[A-Za-z]*[ceE]|--eval|--command|--expression")


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
        options_ended = False
        for pieces in self.arguments:
            text = "".join(values[piece.text] if piece.is_value else piece.text for piece in pieces)
            if pieces and pieces[0].is_value and text.startswith("-") and not options_ended:
                raise StageRefused(
                    f"variables.{pieces[0].text}: begins with '-' and would read as an option; "
                    f'put "--" before it in {self.field}, or write --option={{{pieces[0].text}}}'
                )
            options_ended = options_ended or _literal(pieces) == "--"
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


def _refuse_scripts(arguments: tuple[tuple[Piece, ...], ...], field: str) -> None:
    """A value inside the script of `sh -c` would be code. Positional arguments after the script are the way."""
    literals = [_literal(pieces) for pieces in arguments]
    interpreted = False
    for index, pieces in enumerate(arguments):
        before = literals[index - 1] if index else None
        if interpreted and literals[index] is None and before is not None and _SCRIPT_OPTION.fullmatch(before):
            raise StageRefused(
                f"{field}[{index}]: a value cannot stand in a script; pass it as an argument after the script"
            )
        name = PurePosixPath(literals[index] or "").name
        interpreted = (
            interpreted or name in _INTERPRETERS or re.fullmatch(r"(python|perl|ruby)[0-9.]*", name) is not None
        )
        del pieces


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
