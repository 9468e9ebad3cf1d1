"""`python -m lockgate.cli.reference [DIRECTORY]` writes every page; the same code makes the same bytes."""

from __future__ import annotations

import sys
from pathlib import Path

from lockgate.cli.reference.pages import pages

NOTE = "<!-- Made by `make docs` from the code; do not edit. -->\n\n"


def main(directory: Path) -> None:
    """Write every page below `directory`; a page nobody makes any more is removed."""
    directory.mkdir(parents=True, exist_ok=True)
    made = pages()
    for path in directory.glob("*.md"):
        if path.stem not in made:
            path.unlink()
    for name, text in made.items():
        (directory / f"{name}.md").write_text(NOTE + text.rstrip() + "\n", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("docs/reference"))
