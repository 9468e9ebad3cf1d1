from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import pytest

from lockgate.gateway.settings import GatewaySettings
from lockgate.runner.settings import RunnerSettings
from lockgate.wire.settingsfile import (
    SettingInvalid,
    SettingsError,
    documentation,
    load_settings,
    read_settings,
    setting,
)

# ruff: noqa: RUF009  `setting` makes a dataclasses.field, not a value


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True, slots=True)
class Inner:
    size: int = setting("How large.")
    ratio: float = setting("A share.", 0.5)

    def __post_init__(self) -> None:
        if self.size < 0:
            raise SettingInvalid("size", "must not be negative")


@dataclass(frozen=True, slots=True)
class Example:
    name: str = setting("What it is called.")
    inner: Inner = setting("The inner part.")
    lit: bool = setting("Whether.", False)
    place: Path = setting("Where.", Path("place"))
    maybe: int | None = setting("Perhaps.", None)
    kind: Literal["a", "b"] = setting("Which.", "a")
    colour: Colour = setting("Colour.", Colour.RED)
    many: tuple[Inner, ...] = setting("Several.", ())
    named: dict[str, Inner] = setting("By name.", factory=dict)
    free: tuple[Mapping[str, Any], ...] = setting("Anything.", ())


BASE = Path("/base")


def read(text: str | bytes) -> Example:
    return read_settings("x.yaml", text.encode() if isinstance(text, str) else text, Example, BASE)


WHOLE = """
name: n
inner: {size: 1, ratio: 2}
lit: true
place: below/here
maybe: 3
kind: b
colour: red
many: [{size: 4}]
named: {k: {size: 5}}
free: [{any: [1, {x: null}]}]
"""


def test_every_kind_of_setting_is_read() -> None:
    found = read(WHOLE)
    assert found == Example(
        "n",
        Inner(1, 2.0),
        True,
        BASE / "below/here",
        3,
        "b",
        Colour.RED,
        (Inner(4),),
        {"k": Inner(5)},
        ({"any": [1, {"x": None}]},),
    )
    assert isinstance(found.inner.ratio, float)


def test_what_is_left_out_has_its_default_and_default_paths_are_below_the_file_too() -> None:
    assert read("name: n\ninner:\n  size: 1\n") == Example("n", Inner(1), place=BASE / "place")
    assert read("name: n\ninner:\n  size: 1\nplace: /absolute").place == Path("/absolute")


@pytest.mark.parametrize(
    ("text", "line", "field", "message"),
    [
        ("inner: {size: 1}", 1, "name", "is missing"),
        ("name: n\ninner:\n  ratio: 1.0\n", 2, "inner.size", "is missing"),
        ("name: n\n\nnmae: x\ninner: {size: 1}", 3, "nmae", "is not a setting"),
        ("name: n\ninner:\n  size: 1\n  sise: 2", 4, "inner.sise", "is not a setting"),
        ("name: 1\ninner: {size: 1}", 1, "name", "must be text"),
        ("name: n\ninner: {size: x}", 2, "inner.size", "whole number"),
        ("name: n\ninner: {size: true}", 2, "inner.size", "whole number"),
        ("name: n\ninner: {size: 1.5}", 2, "inner.size", "whole number"),
        ("name: n\ninner:\n  size: -1", 3, "inner.size", "negative"),
        ("name: n\ninner: {size: 1}\nmany:\n- size: 1\n- size: -1", 5, "many[1].size", "negative"),
        ("name: n\ninner: {size: 1}\nnamed:\n  k:\n    size: -1", 5, "named.k.size", "negative"),
        ("name: n\ninner: 3", 2, "inner", "mapping"),
        ("name: n\ninner: {size: 1}\nmany: 3", 3, "many", "list"),
        ("name: n\ninner: {size: 1}\nkind: c", 3, "kind", "one of a, b"),
        ("name: n\ninner: {size: 1}\ncolour: blue", 3, "colour", "one of red"),
        ("name: n\ninner: {size: 1}\nplace: 3", 3, "place", "path"),
        ("name: n\ninner: {size: 1}\nlit: yes", 3, "lit", "quotes"),
        ("name: 0777\ninner: {size: 1}", 1, "name", "quotes"),
        ("name: 1:30\ninner: {size: 1}", 1, "name", "quotes"),
        ("name: 2026-01-01\ninner: {size: 1}", 1, "name", "quotes"),
        ("name: n\ninner: {size: 1}\nname: m", 3, "name", "stands twice"),
        ("name: n\ninner:\n  size: 1\n  size: 1", 4, "inner.size", "stands twice"),
        ("name: n\n1: x", 2, "", "key must be text"),
        ("name: &a n\ninner: *a", 1, "", "anchors"),
        ("name: !!str n", 1, "", "tags"),
        ("name: !!python/object/apply:os.system [x]", 1, "", "tags"),
        ("name: n\n---\nname: m", 2, "", "more than one document"),
        ("name: n\n<<: {a: 1}", 2, "", "key must be text"),
        ("name: ]n", 1, "", "not YAML"),
        ("name: n\ninner: {size: 1}\n\tx: y", 3, "", "not YAML"),
        (b"name: n\nx: \xff", 2, "", "not UTF-8"),
        ("name: \x00", 1, "", "not YAML"),
        ("name: " + "[" * 40 + "]" * 40, 1, "", "levels"),
        ("- a", 1, "", "mapping"),
        ("", 1, "name", "is missing"),
        (b"#" * (2 << 20), 1, "", "larger than"),
    ],
)
def test_an_error_names_file_line_and_field(text: str | bytes, line: int, field: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        read(text)
    assert (caught.value.file, caught.value.line, caught.value.field) == ("x.yaml", line, field)
    assert str(caught.value).startswith(f"x.yaml:{line}: ")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"missing\.yaml"):
        load_settings(tmp_path / "missing.yaml", Example)
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings(tmp_path, Example)


def test_paths_are_below_the_files_own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.yaml").write_text("name: n\ninner: {size: 1}")
    monkeypatch.chdir(tmp_path)
    assert load_settings(Path("x.yaml"), Example).place == tmp_path / "place"


def test_the_reference_lists_every_setting_with_type_and_default() -> None:
    rows = {row.name: (row.type, row.default, row.doc) for row in documentation(Example)}
    assert rows["name"] == ("text", "required", "What it is called.")
    assert rows["inner.ratio"] == ("a number", "0.5", "A share.")
    assert rows["many[].size"] == ("a whole number", "required", "How large.")
    assert rows["named.NAME.size"][0] == "a whole number"
    assert rows["maybe"] == ("a whole number, or nothing", "nothing", "Perhaps.")
    assert rows["lit"][1] == "false"


@pytest.mark.parametrize("kind", [GatewaySettings, RunnerSettings])
def test_every_setting_of_the_zones_is_documented(kind: type) -> None:
    rows = documentation(kind)
    assert len(rows) > 30
    limits = ("targets.NAME.limits",)
    assert [row.name for row in rows if not row.doc.endswith((".", "…")) and not row.name.startswith(limits)] == []
