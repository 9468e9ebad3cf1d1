"""Agents' own clients, each driven by the program on its page of the documentation, with a bearer token and no model."""

from __future__ import annotations

import json
import re
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.docs.pages import CLIENT_PAGES, ROOT, Page, commands, read_page
from tests.docs.reader import Reader
from tests.docs.shown import Names
from tests.e2e.conftest import roots_dir
from tests.ports import free_ports

from lockgate.cli.deployment import targets_place

CONNECT = ROOT / "docs" / "how-to" / "connect-an-mcp-client.md"
UNDER_WAY = re.compile(r'"status": "(queued|leased|running)"')
LOOKS = 10
OPERATION = re.compile(r"\bop_[a-z2-7]{26}\b")
ENVIRONMENTS = {
    "fastmcp": "fastmcp",
    "inspector": "node",
    "langgraph": "langgraph",
    "pydantic-ai": "pydantic-ai",
    "python-sdk": "",  # the version that Lockgate itself stands on
    "typescript": "node",
}
"""Page → `tools/client-NAME.toml`."""

each_client = pytest.mark.parametrize(
    "page", [read_page(CLIENT_PAGES / f"{name}.md") for name in ENVIRONMENTS], ids=list(ENVIRONMENTS)
)


class Human:
    """A person with a token who looks at what waits and approves exactly that, over REST."""

    def __init__(self, dev: Reader, name: str) -> None:
        self._url = f"http://127.0.0.1:{dev.ports[0]}/api/v1"
        self._token = (dev.lockgate / "tokens" / name).read_text().strip()

    def rest(self, path: str, body: Any = None) -> Any:
        headers = {"authorization": f"Bearer {self._token}", "content-type": "application/json"}
        data = json.dumps(body).encode() if body is not None else None
        with urllib.request.urlopen(urllib.request.Request(self._url + path, data, headers), timeout=60) as answer:
            return json.load(answer)

    def approve(self, operation: str) -> None:
        digests = self.rest(f"/operations/{operation}/plan")["digests"]
        shown = {name: digests[name] for name in ("semantic_sha256", "inputs_sha256")}
        voted = self.rest(f"/operations/{operation}/votes", {"verdict": "approve", "digests": shown})
        assert voted["status"] == "queued", voted


@pytest.fixture(scope="module")
def dev() -> Iterator[Reader]:
    """A running `lockgate dev` with the token of the page about connecting a client."""
    public, runners = free_ports(2)
    reader = Reader((public, runners), roots_dir())
    try:
        reader.start_dev()
        issue = [
            command
            for block in read_page(CONNECT).blocks
            for command in commands(block)
            if " token issue " in command.text
        ]
        for command in issue:
            code, printed = reader.run(command.text)
            assert code == 0, printed
        yield reader
    finally:
        reader.close()


@pytest.fixture
def installed(page: Page, dev: Reader, client: Callable[[str], Path]) -> Reader:
    """The reader with the page's client installed: its programs are found first, and its packages beside the reader's own files."""
    name = ENVIRONMENTS[page.path.stem]
    program = client(name) if name else Path(sys.executable)
    packages = program.parent / "node_modules"
    dev.programs = (packages / ".bin",) if packages.is_dir() else (program.parent,)
    (dev.home / "node_modules").unlink(missing_ok=True)
    if packages.is_dir():
        (dev.home / "node_modules").symlink_to(packages)
    return dev


def to_do(page: Page) -> Iterator[Any]:
    """The page's commands that can be run here, its files being written before."""
    for block in page.to_run:
        if "file" not in block.notes and block.asked[0] != "syntax":
            yield from commands(block)


def files(page: Page) -> dict[str, str]:
    return {block.notes["file"]: block.text for block in page.to_run if "file" in block.notes}


@pytest.mark.clients
@each_client
def test_a_client_lists_the_tools_and_drives_a_change_through_an_approval_to_its_end(
    page: Page, installed: Reader
) -> None:
    names, bob = Names(), Human(installed, "bob")
    asked: set[str] = set()
    motd = targets_place(installed.lockgate) / "motd-production" / "motd"
    before = motd.read_text() if motd.exists() else ""
    for place, text in files(page).items():
        installed.write(place, text)

    def carried_out(command: str) -> str:
        printed = ""
        for line in installed.lines(command):
            printed += line
            if not asked and "pending_approval" in printed and (found := set(OPERATION.findall(printed))):
                assert (motd.read_text() if motd.exists() else "") == before, "changed before it was approved"
                bob.approve(*found)
                asked.update(found)
        return printed

    for command in to_do(page):
        printed = carried_out(names.in_command(command.text))
        for _ in range(LOOKS):  # a reader would look again; this machine may be slow
            if "lockgate_get_operation" not in command.text or not UNDER_WAY.search(printed):
                break
            printed = carried_out(names.in_command(command.text))
        assert command.shown
        names.compare(command.shown, printed)
    (operation,) = asked
    end = bob.rest(f"/operations/{operation}")
    assert (end["status"], end["effect"], end["action"]) == ("succeeded", "full", "set_motd")
    assert end["principal"]["kind"] == "agent" and end["principal"]["subject"] == "agent-9"
    message = end["intent"]["arguments"]["message"]
    assert message in page.text and message not in before
    assert motd.read_text() == message + "\n"


@pytest.mark.clients
@each_client
def test_a_client_that_is_denied_is_told_why_and_ends(page: Page, installed: Reader) -> None:
    """The page's own program, asking for what this token may do in staging only."""

    def forbidden(text: str) -> str:
        return re.sub(r'"?message"?: "[^"]*",\s*', "", text.replace("set_motd", "remove_motd"))

    for place, text in files(page).items():
        installed.write(place, forbidden(text))
    asking = next(command for command in to_do(page) if files(page) or "set_motd" in command.text)
    told_by_exit_code = "" if files(page) else "; test $? = 5"
    printed = "".join(installed.lines(forbidden(asking.text) + told_by_exit_code))
    assert "denied" in printed and "pending_approval" not in printed
    assert "None of the caller's roles permits this action on this target." in printed


def test_every_page_of_a_client_is_followed_by_a_test() -> None:
    assert {path.stem for path in CLIENT_PAGES.glob("*.md")} == set(ENVIRONMENTS)


@each_client
def test_a_page_installs_the_versions_that_its_test_runs(page: Page) -> None:
    name = ENVIRONMENTS[page.path.stem]
    shed = ROOT / "tools" / "clients"
    if name == "node":
        packages = json.loads((shed / "node" / "package.json").read_text())["dependencies"]
        pinned = {f"{package}@{version}" for package, version in packages.items()}
    else:
        lock = shed / f"{name}.in" if name else ROOT / "requirements" / "run.txt"
        pinned = {line.removesuffix(" \\") for line in lock.read_text().splitlines()}
    installs = [command.text for block in page.blocks for command in commands(block) if " install " in command.text]
    packages = {word.strip("'") for text in installs for word in text.split() if re.search(r"[\w\]](==|@)", word)}
    assert packages and packages <= pinned
