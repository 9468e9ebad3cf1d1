"""Reads a page of the documentation as what a reader would do with it: files to write and commands to type, in order; it must not run anything.

An HTML comment on a line of its own says what to do with the fenced block after it:

- ``<!-- file: PATH -->``: the block is that file; ``<!-- merge: PATH -->``: the block is merged into that YAML file; PATH begins with ``~/``;
- ``<!-- test: exit N -->``: the block's last command ends with exit code N;
- ``<!-- test: type WORDS -->``: the block's last command runs on a terminal, where WORDS are typed;
- ``<!-- test: syntax WHY -->``: the commands cannot run here; each must exist with its options.

``<!-- test: dev -->``, before the first block, gives the page a running deployment of `lockgate dev`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CLIENT_PAGES = ROOT / "docs" / "how-to" / "clients"
TOOL_PAGES = tuple(
    ROOT / "docs" / "how-to" / name
    for name in (
        "use-opentofu.md",
        "bring-your-terraform-policy.md",
        "run-opa-as-a-server.md",
        "give-a-runner-a-cluster.md",
        "from-an-empty-cluster-to-a-governed-change.md",
    )
)
"""Pages that need tools which not every machine has: tests/docs/test_tool_pages.py, test_opa_server_page.py and test_kubernetes_page.py do what they say."""
RUN_LANGUAGES = ("console", "bash")
_COMMENT = re.compile(r"\s*<!-- (file|merge|test): (.+?) -->\s*")
_FENCE = re.compile(r"(\s*)(```+)\s*(\S*)\s*")
_LINK = re.compile(r"(?<!\!)\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, the line it begins on, and what the comments before it say."""

    language: str
    text: str
    line: int
    notes: dict[str, str]

    @property
    def asked(self) -> tuple[str, str]:
        """The word and the rest of its `test:` comment."""
        word, _, rest = self.notes.get("test", "").partition(" ")
        return word, rest


@dataclass
class Command:
    """One command with the output lines that the page shows of it."""

    text: str
    line: int
    shown: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Page:
    """A page: its path below the repository, its text, its blocks, and whether it needs a running deployment."""

    path: Path
    text: str
    blocks: tuple[Block, ...]
    needs_dev: bool

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))

    @property
    def starts_dev(self) -> bool:
        return any(command.text.startswith("lockgate dev") for block in self.blocks for command in commands(block))

    @property
    def to_run(self) -> tuple[Block, ...]:
        return tuple(block for block in self.blocks if block.language in RUN_LANGUAGES or block.notes)

    def links(self) -> Iterator[str]:
        """Link targets outside code."""
        prose = re.sub(r"`[^`\n]*`", "", re.sub(r"^\s*```.*?^\s*```\s*$", "", self.text, flags=re.M | re.S))
        return (found.group(1) for found in _LINK.finditer(prose))


def all_pages() -> list[Path]:
    """Every page a reader may open."""
    return [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")] + sorted(
        ROOT.glob("docs/**/*.md")
    )


def read_page(path: Path) -> Page:
    """Parse one page; a fence that is never closed is an error."""
    text = path.read_text("utf-8")
    blocks: list[Block] = []
    notes: dict[str, str] = {}
    needs_dev = False
    lines = iter(enumerate(text.splitlines(), start=1))
    for number, line in lines:
        comment, fence = _COMMENT.fullmatch(line), _FENCE.fullmatch(line)
        if comment:
            kind, value = comment.groups()
            if (kind, value) == ("test", "dev"):
                needs_dev = True
            else:
                notes[kind] = value
        elif fence:
            indent, ticks, language = fence.groups()
            body = list(_until(lines, ticks, indent))
            blocks.append(Block(language, "\n".join(body) + "\n", number, notes))
            notes = {}
    assert not notes, f"{path}: a comment without a block after it: {notes}"
    return Page(path, text, tuple(blocks), needs_dev)


def _until(lines: Iterator[tuple[int, str]], ticks: str, indent: str) -> Iterator[str]:
    for _, line in lines:
        if line.strip() == ticks:
            return
        yield line.removeprefix(indent)
    raise AssertionError("a fence is never closed")


def commands(block: Block) -> list[Command]:
    """The commands of a console block (behind `$ `) or of a bash block (every line), with continuation lines joined."""
    if block.language not in RUN_LANGUAGES:
        return []
    found: list[Command] = []
    going_on = False
    for number, line in enumerate(block.text.splitlines(), start=block.line + 1):
        if going_on:
            found[-1].text += " " + line.strip().removesuffix("\\").strip()
        elif block.language == "bash" and line.strip() and not line.lstrip().startswith("#"):
            found.append(Command(line.removesuffix("\\").strip(), number))
        elif line.startswith("$ "):
            found.append(Command(line[2:].removesuffix("\\").strip(), number))
        elif found and line.strip():
            found[-1].shown.append(line)
        going_on = line.endswith("\\") and (going_on or line.startswith("$ ") or block.language == "bash")
    return found
