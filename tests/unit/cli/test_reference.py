"""The reference pages: made from the code, the same every time, naming everything."""

from pathlib import Path

import pytest

from lockgate.cli.exits import Exit
from lockgate.cli.reference.__main__ import main
from lockgate.cli.reference.markdown import schema_table, table
from lockgate.gateway.api.rest import ROUTES
from lockgate.gateway.operations.states import Event, State
from lockgate.policy.rules import library_rules


def test_the_pages_in_the_tree_are_what_the_code_says(root: Path, tmp_path: Path) -> None:
    main(tmp_path)
    kept = {path.name: path.read_text() for path in (root / "docs" / "reference").iterdir()}
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == kept, "run make docs"


def test_a_page_nobody_makes_any_more_goes_away(tmp_path: Path) -> None:
    (tmp_path / "old.md").write_text("x")
    main(tmp_path)
    assert not (tmp_path / "old.md").exists()


@pytest.mark.parametrize(
    ("page", "words"),
    [
        (
            "cli",
            [
                "lockgate operation approve OPERATION",
                "--digest",
                *(f"| {int(code)} | {code.name.lower()} |" for code in Exit),
            ],
        ),
        ("rest", [f"`{route.method} {route.path}`" for route in ROUTES]),
        ("states", [*(state.value for state in State), *(event.value for event in Event)]),
        ("settings", ["`public.port`", "`targets.NAME.paths[].gid`"]),
        ("catalog", ["`spec.effect`"]),
        ("policy-input", ["`context.freeze`"]),
        ("policy-output", ["`obligations"]),
        ("rules", [f"## {name}" for name in library_rules()]),
        ("errors", ["`not_found`", "four_eyes"]),
    ],
)
def test_a_page_names_everything(tmp_path: Path, page: str, words: list[str]) -> None:
    main(tmp_path)
    text = (tmp_path / f"{page}.md").read_text()
    assert [word for word in words if word not in text] == []


def test_a_cell_cannot_break_its_table() -> None:
    assert table(("a",), [("x | y\n<z>",)]).splitlines()[2] == "| x \\| y &lt;z> |"


def test_a_schema_that_names_itself_ends() -> None:
    schema = {"$defs": {"A": {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}}}, "$ref": "#/$defs/A"}
    assert "`a`" in schema_table(schema, schema)
