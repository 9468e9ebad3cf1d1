"""Rego beside the policy data, on a laptop: built in when it changes, and refused with its line while what was good stays."""

import os
from pathlib import Path

import pytest
from tests.ownrules import DATA

from lockgate.policy.bundles.layout import read_bundle
from lockgate.policy.port import PolicyLoadError
from lockgate.policy.sources.library import LibrarySource

ENTRY = "  - {name: mine, path: team.ok, reads: allowed, effect: deny}\n"
NOTHING = "  []\n"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "own" / "team").mkdir(parents=True)
    (tmp_path / "data.yaml").write_text(DATA + NOTHING)
    return tmp_path


async def brought(source: LibrarySource) -> str | None:
    fetched = await source.look()
    return None if fetched is None else read_bundle(fetched.files, fetched.name).revision


@pytest.mark.opa
async def test_a_rule_is_built_in_when_it_comes_and_when_it_changes(opa: Path, place: Path) -> None:
    source = LibrarySource(place)
    revisions = [await brought(source)]
    assert await brought(source) is None
    (place / "own" / "team" / "rule.rego").write_text("package team\n\nok := true\n")
    (place / "data.yaml").write_text(DATA + ENTRY)
    revisions.append(await brought(source))
    (place / "own" / "team" / "rule.rego").write_text("package team\n\nok := input.fine\n")
    revisions.append(await brought(source))
    assert None not in revisions
    assert len(set(revisions)) == 3
    assert await brought(source) is None


@pytest.mark.opa
async def test_a_broken_rule_is_refused_once_with_its_line(opa: Path, place: Path) -> None:
    source = LibrarySource(place)
    rule = place / "own" / "team" / "rule.rego"
    for text, line in (("package team\n\nok := {\n", 3), ("package lockgate.limits\n", 1)):
        rule.write_text(text)
        with pytest.raises(PolicyLoadError) as error:
            await source.look()
        assert (error.value.file, error.value.line is not None) == (str(rule), True)
        assert line <= (error.value.line or 0) <= line + 1
        assert await source.look() is None, "it is looked at again when it changes"
    rule.write_text("package team\n\nok if time.now_ns() > 0\n")
    with pytest.raises(PolicyLoadError, match=r"rule\.rego:3: .*time\.now_ns"):
        await source.look()


async def test_without_opa_it_is_said_and_tried_again(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.devnull)
    monkeypatch.delenv("LOCKGATE_OPA", raising=False)
    (place / "own" / "rule.rego").write_text("package team\n\nok := true\n")
    source = LibrarySource(place)
    for _ in range(2):
        with pytest.raises(PolicyLoadError, match="holds rules, and this needs the `opa` program"):
            await source.look()


async def test_an_empty_folder_is_the_library_alone(place: Path) -> None:
    fetched = await LibrarySource(place).look()
    assert fetched is not None
    assert not [name for name in fetched.files if name.startswith("own/")]
