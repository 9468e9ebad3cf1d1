"""The frame around every command: the shared options, the session they make, and how failures end it. It must not know any command."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from lockgate.cli.exits import Exit
from lockgate.cli.problem import Problem, expected
from lockgate.cli.screen import Screen

HOME_VARIABLE = "LOCKGATE_HOME"


@dataclass(frozen=True)
class Session:
    """What every command gets: the deployment's directory, the screen, and which token file speaks (`--as`)."""

    home: Path
    screen: Screen
    speaker: str = ""


_SHARED = {
    "home": (
        Annotated[
            Path | None,
            typer.Option(
                help=f"The deployment's directory; default ${HOME_VARIABLE}, else ~/.lockgate.", show_default=False
            ),
        ],
        None,
    ),
    "as_json": (Annotated[bool, typer.Option("--json", help="Answer with one JSON document on stdout.")], False),
}
_SPEAKER = {
    "speaker": (
        Annotated[
            str,
            typer.Option(
                "--as",
                metavar="NAME",
                help="Use the token of the file tokens/NAME; default $LOCKGATE_TOKEN, else `human`.",
            ),
        ],
        "",
    )
}


class App(typer.Typer):
    """A Typer whose commands take a Session first, and `--home` and `--json` from everywhere."""

    def __init__(self, help: str, **options: Any) -> None:
        super().__init__(
            help=help, no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False, **options
        )

    def add(
        self, name: str, *, speaks: bool = False, hidden: bool = False
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Register a command `function(session, …)`; `speaks` gives it `--as`. What it returns is its exit code (None: OK)."""

        def register(function: Callable[..., Any]) -> Callable[..., Any]:
            self.command(name, hidden=hidden)(_framed(function, {**(_SPEAKER if speaks else {}), **_SHARED}))
            return function

        return register


def _framed(function: Callable[..., Any], shared: dict[str, Any]) -> Callable[..., None]:
    own = list(inspect.signature(function).parameters.values())[1:]
    hints = get_type_hints(function, include_extras=True)
    keyword = inspect.Parameter.KEYWORD_ONLY

    @functools.wraps(function)
    def run(**values: Any) -> None:
        taken = {name: values.pop(name) for name in shared}
        screen = Screen(as_json=taken["as_json"])
        session = Session(taken["home"] or default_home(), screen, taken.get("speaker", ""))
        raise typer.Exit(int(ended(screen, lambda: function(session, **values))))

    parameters = [item.replace(kind=keyword, annotation=hints[item.name]) for item in own]
    parameters += [
        inspect.Parameter(name, keyword, annotation=kind, default=default) for name, (kind, default) in shared.items()
    ]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {item.name: item.annotation for item in parameters}
    del run.__wrapped__
    return run


def ended(screen: Screen, work: Callable[[], Exit | None]) -> Exit:
    """Run a command to its exit code; an expected failure is explained, one that nobody foresaw keeps its traceback."""
    try:
        return work() or Exit.OK
    except KeyboardInterrupt:
        screen.note("stopped")
        return Exit.INTERRUPTED
    except (typer.Exit, typer.Abort):
        raise
    except BrokenPipeError:
        # The reader of stdout went away; nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return Exit.OK
    except Exception as error:
        problem = expected(error)
        if problem is None:
            raise
        screen.problem(problem)
        return problem.exit


def default_home() -> Path:
    """The deployment's directory when none is named."""
    named = os.environ.get(HOME_VARIABLE)
    return Path(named) if named else Path.home() / ".lockgate"


def bad_input(field: str, message: str, fix: str = "") -> Problem:
    """A problem of the command line."""
    return Problem(Exit.USAGE, message, field=field, fix=fix)
