"""`lockgate policy new-rule`: writes a rule with its tests, and says how to attach it. It overwrites nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lockgate.cli.exits import Exit
from lockgate.cli.frame import App, Session, bad_input
from lockgate.cli.problem import Problem


def register(app: App) -> None:
    """Add the command."""
    app.add("new-rule")(write_rule)


def write_rule(
    session: Session,
    name: Annotated[str, typer.Argument(help="What the rule is called: lower-case letters, digits and _.")],
    folder: Annotated[Path, typer.Option(help="The folder of your rules; it is made.")] = Path("policies"),
) -> None:
    """Write a rule in Rego with tests that pass, and say the entry that attaches it."""
    from lockgate.policy.scaffold import NameRefused, new_rule
    from lockgate.policy.testing import is_library

    try:
        rule = new_rule(name)
    except NameRefused as refused:
        raise bad_input("name", str(refused)) from None
    if is_library(folder):
        raise bad_input("folder", f"{folder} is the library itself: name a folder of your own with --folder")
    _write({folder / file: text for file, text in rule.files.items()})
    following = [f"lockgate policy test {folder} --coverage", f"lockgate policy check --source {folder}"]
    written = [str(folder / file) for file in rule.files]
    document = {
        "ok": True,
        "files": written,
        "path": rule.path,
        "entry": rule.entry,
        "next": following,
    }
    text = [*(f"wrote {file}" for file in written), f"Try it: {following[0]}"]
    text += ["Attach it: put this into the policy data, then", f"  {following[1]}", "", rule.entry.rstrip()]
    session.screen.answer(document, lambda out: print("\n".join(text)))


def _write(files: dict[Path, str]) -> None:
    """All of them or none: an author's file is never lost."""
    for file in files:
        if file.exists() or file.is_symlink():
            raise Problem(Exit.CONFLICT, f"{file} is there already; nothing was written", field="name")
    for file, text in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as out:
            out.write(text)
