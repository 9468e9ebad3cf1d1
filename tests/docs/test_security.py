"""The table of attacks names tests and guards that exist, and every guard of an attack stands in it."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path("docs") / "security.md"


def test_every_named_test_exists(root: Path) -> None:
    page = (root / PAGE).read_text()
    named = re.findall(r"`(tests/[a-z0-9_/]+\.py)(?:::(test_[a-z0-9_]+))?`", page)
    assert len(named) >= 30, "one for each attack"
    assert [f"{file}::{name}" for file, name in named if f"def {name}" not in (root / file).read_text()] == []


def test_every_named_guard_exists_and_every_guard_of_an_attack_is_named(root: Path) -> None:
    table = (root / PAGE).read_text().partition("## What was tried against it")[2].partition("\n## ")[0]
    cells = [row.split("|")[4] for row in table.splitlines() if row.startswith("|") and row.count("|") == 5]
    named = {name for cell in cells for name in re.findall(r"`((?:\d\d|attack|tofu)-[a-z0-9-]+)`", cell)}
    guards = {path.stem for path in (root / "tests" / "guards").glob("*.patch")}
    assert named - guards == set()
    assert {name for name in guards if name.startswith("attack-")} - named == set()
