"""Bundles on disk: brought when they change, whole or not at all, and nothing from outside."""

import os
from pathlib import Path

import pytest

from lockgate.policy.bundle import LIBRARY
from lockgate.policy.bundles import archive
from lockgate.policy.bundles.archive import pack
from lockgate.policy.bundles.layout import DATA_TEXT
from lockgate.policy.port import PolicyLoadError
from lockgate.policy.sources import file
from lockgate.policy.sources.file import DirectorySource, FileSource
from lockgate.policy.sources.library import LibrarySource
from lockgate.policy.sources.port import BundleSource, SourceUnavailable


async def brought(source: BundleSource) -> dict[str, bytes] | None:
    fetched = await source.look()
    return None if fetched is None else dict(fetched.files)


def replaced(path: Path, content: bytes) -> None:
    draft = path.with_name("draft")
    draft.write_bytes(content)
    draft.rename(path)


async def test_a_file_is_brought_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "bundle.tar.gz"
    source = FileSource(path)
    with pytest.raises(SourceUnavailable, match="No such file"):
        await source.look()
    replaced(path, pack({"a": b"1"}))
    assert await brought(source) == {"a": b"1"}
    assert await brought(source) is None
    replaced(path, pack({"a": b"2"}))
    assert await brought(source) == {"a": b"2"}
    source.forget()
    assert await brought(source) == {"a": b"2"}


async def test_a_file_that_is_none_or_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable, match="Is a directory"):
        await FileSource(tmp_path).look()
    path = tmp_path / "bundle.tar.gz"
    with path.open("wb") as made:
        made.truncate(1 << 30)
    with pytest.raises(PolicyLoadError, match="is larger than"):
        await FileSource(path).look()


async def test_a_directory_is_brought_whole(tmp_path: Path) -> None:
    (tmp_path / "lockgate" / "questions").mkdir(parents=True)
    (tmp_path / "lockgate" / "questions" / "plan.rego").write_bytes(b"package x")
    (tmp_path / ".manifest").write_bytes(b"{}")
    source = DirectorySource(tmp_path)
    assert await brought(source) == {".manifest": b"{}", "lockgate/questions/plan.rego": b"package x"}
    assert await brought(source) is None
    (tmp_path / ".manifest").write_bytes(b"[ ]")
    assert await brought(source) == {".manifest": b"[ ]", "lockgate/questions/plan.rego": b"package x"}


async def test_a_directory_that_changes_while_it_is_read_brings_nothing_and_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.rego", "b.rego"):
        (tmp_path / name).write_bytes(b"old")
    source, read = DirectorySource(tmp_path), DirectorySource._read
    changed: list[str] = []

    def changing(self: DirectorySource, path: str, size: int) -> bytes:
        content = read(self, path, size)
        if not changed:
            changed.append(path)
            for name in ("a.rego", "b.rego"):
                (tmp_path / name).write_bytes(b"newer")
        return content

    monkeypatch.setattr(DirectorySource, "_read", changing)
    with pytest.raises(SourceUnavailable, match="was changed while it was read"):
        await source.look()
    assert await brought(source) == {"a.rego": b"newer", "b.rego": b"newer"}


async def test_links_and_devices_bring_nothing_and_what_was_there_comes_back_without_them(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    place = tmp_path / "bundle"
    place.mkdir()
    (place / "a.rego").write_bytes(b"1")
    source = DirectorySource(place)
    assert await brought(source) == {"a.rego": b"1"}
    for make in (
        lambda path: path.symlink_to(tmp_path / "secret"),
        lambda path: path.symlink_to(tmp_path),
        os.mkfifo,
    ):
        make(place / "b.rego")
        with pytest.raises(PolicyLoadError, match=r"b\.rego: is no regular file"):
            await source.look()
        (place / "b.rego").unlink()
        assert await brought(source) == {"a.rego": b"1"}


async def test_a_directory_has_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PolicyLoadError, match="is empty"):
        await DirectorySource(tmp_path).look()
    with pytest.raises(SourceUnavailable, match="No such file"):
        await DirectorySource(tmp_path / "nothing").look()
    with (tmp_path / "data.json").open("wb") as made:
        made.truncate(archive.MAX_UNPACKED_BYTES + 1)
    with pytest.raises(PolicyLoadError, match="holds more than"):
        await DirectorySource(tmp_path).look()
    (tmp_path / "data.json").unlink()
    monkeypatch.setattr(file, "MAX_FILES", 3)
    for number in range(4):
        (tmp_path / f"{number}.rego").write_bytes(b"")
    with pytest.raises(PolicyLoadError, match="holds more than 3 files"):
        await DirectorySource(tmp_path).look()
    (tmp_path / "no name").write_bytes(b"")
    with pytest.raises(PolicyLoadError, match="a path must stay below the bundle"):
        await DirectorySource(tmp_path).look()


async def test_the_librarys_data_file_is_brought_as_a_bundle_when_it_changes(tmp_path: Path) -> None:
    text = LIBRARY.joinpath("data.default.yaml").read_bytes()
    source = LibrarySource(tmp_path)
    (tmp_path / "data.yaml").write_bytes(text)
    files = await brought(source)
    assert files is not None
    assert files[DATA_TEXT] == text
    assert await brought(source) is None
    replaced(tmp_path / "data.yaml", text + b"\nroles: {}\n")
    with pytest.raises(PolicyLoadError, match=r"data\.yaml:\d+: "):
        await source.look()
    assert await brought(source) is None, "the same fault is not told twice"
    (tmp_path / "data.yaml").unlink()
    with pytest.raises(PolicyLoadError, match="does not exist"):
        await source.look()
