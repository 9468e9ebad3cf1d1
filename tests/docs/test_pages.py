"""Every command of the documentation is run, in the order of its page, and prints what the page shows.

The pages of agents' clients need those clients: tests/e2e/test_clients.py does what they say.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import typer
from tests.docs.pages import CLIENT_PAGES, ROOT, TOOL_PAGES, Block, Command, all_pages, commands, read_page
from tests.docs.reader import Reader, words
from tests.docs.shown import Names

from lockgate.cli.main import app

PAGES = [
    page
    for page in map(read_page, all_pages())
    if page.to_run and page.path.parent != CLIENT_PAGES and page.path not in TOOL_PAGES
]
OWN = [page for page in PAGES if page.starts_dev]
SHARED = [page for page in PAGES if not page.starts_dev]


@pytest.fixture(scope="module")
def shared_reader(readers) -> Iterator[Reader]:
    """One running deployment for all pages that do not start one themselves; each uses names of its own."""
    with readers() as reader:
        reader.start_dev()
        yield reader


@pytest.mark.slow
@pytest.mark.parametrize("page", OWN, ids=lambda page: page.name)
def test_a_page_that_starts_lockgate_does_what_it_says(page, readers):
    with readers() as reader:
        follow(page.to_run, reader)


@pytest.mark.slow
@pytest.mark.parametrize("page", SHARED, ids=lambda page: page.name)
def test_a_page_does_what_it_says(page, shared_reader):
    assert page.needs_dev or all(block.asked[0] == "syntax" or only_make(block) for block in page.to_run), (
        f"{page.name}: a page whose commands need a deployment says <!-- test: dev -->"
    )
    follow(page.to_run, shared_reader)


def follow(blocks: tuple[Block, ...], reader: Reader, names: Names | None = None) -> None:
    """Do what a page's blocks say, in order; `names`: what the page has shown before them."""
    names = names or Names()
    for block in blocks:
        if "file" in block.notes:
            reader.write(block.notes["file"], block.text)
        elif "merge" in block.notes:
            reader.merge(block.notes["merge"], block.text)
        else:
            for command in commands(block):
                obey(command, block, reader, names, last=command.line == commands(block)[-1].line)


def obey(command: Command, block: Block, reader: Reader, names: Names, *, last: bool) -> None:
    """Run one command and compare; make's targets and what cannot run here are checked to exist."""
    word, rest = block.asked if last or block.asked[0] == "syntax" else ("", "")
    first = words(command.text)[0]
    if first == "make":
        assert is_make_target(words(command.text)[1]), f"line {command.line}: no such target: {command.text}"
        return
    if word == "syntax":
        assert rest, f"line {command.line}: say why it cannot be run"
        exists(command)
        return
    if words(command.text)[:2] == ["lockgate", "dev"]:
        names.compare(command.shown, reader.start_dev())
        return
    code, printed = reader.run(names.in_command(command.text), rest if word == "type" else None)
    assert code == (int(rest) if word == "exit" else 0), f"line {command.line}: {command.text} ended {code}:\n{printed}"
    names.compare(command.shown, printed)


def only_make(block: Block) -> bool:
    return all(words(command.text)[0] == "make" for command in commands(block))


def is_make_target(name: str) -> bool:
    return any(line.startswith(f"{name}:") for line in (ROOT / "Makefile").read_text().splitlines())


def exists(command: Command) -> None:
    """A lockgate command that is not run must exist, with every option it is given."""
    told = [word for word in words(command.text) if word != "sudo"]
    if told[0] != "lockgate":
        return
    found = typer.main.get_command(app)
    at = 1
    while at < len(told) and told[at] in getattr(found, "commands", {}):
        found, at = found.commands[told[at]], at + 1  # type: ignore[attr-defined]
    known = {option for parameter in found.params for option in parameter.opts}
    assert not hasattr(found, "commands"), f"line {command.line}: no such command: {command.text}"
    unknown = [word.split("=")[0] for word in told[at:] if word.startswith("--") and word.split("=")[0] not in known]
    assert unknown == [], f"line {command.line}: {command.text}"


def test_the_readme_starts_with_the_two_commands():
    first = next(block for block in read_page(ROOT / "README.md").blocks if commands(block))
    assert [command.text.split("#")[0].strip() for command in commands(first)] == ["make demo", "make test"]


def test_a_line_that_was_not_printed_is_noticed():
    names = Names()
    names.compare(["op_aaaaaa waits", "…", "3 files"], "op_zzzzzz waits\nanything\n3 files\n")
    assert names.in_command("lockgate operation show op_aaaaaa") == "lockgate operation show op_zzzzzz"
    with pytest.raises(AssertionError, match="was not printed"):
        names.compare(["op_aaaaaa waits"], "op_yyyyyy waits\n")
    with pytest.raises(AssertionError, match="no output on this page"):
        names.in_command("lockgate operation show op_bbbbbb")
