# ruff: noqa: S101 - a contract suite asserts
"""The contract suite of the ArtifactStore port: subclass it, give it a place, and pytest holds your store to it. It knows no provider."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from pathlib import Path

import pytest

from lockgate.artifacts.errors import ArtifactDamaged, ArtifactMissing
from lockgate.runner.keeping.port import ArtifactStore

NAMES = ("plan", "default", "web", "op_1")
DATA = b"a plan file with a secret in clear: hunter2-hunter2" * 100


class ArtifactStoreContract(ABC):
    """`make` opens a store of one region on `place`; the same again opens what was kept there."""

    @abstractmethod
    def make(self, place: Path, region_secret: bytes = b"r" * 32) -> ArtifactStore:
        """A store on `place` for runners that hold this region's secret."""

    def stored(self, place: Path) -> dict[Path, bytes]:
        """Every file that the store has written below `place`."""
        return {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}

    def test_what_is_put_is_there_for_the_next_process(self, tmp_path: Path) -> None:
        digest = self.make(tmp_path).put(NAMES, DATA)
        assert digest.startswith("sha256:")
        assert self.make(tmp_path).get(NAMES, digest) == DATA

    def test_putting_the_same_again_changes_nothing(self, tmp_path: Path) -> None:
        store = self.make(tmp_path)
        assert store.put(NAMES, DATA) == store.put(NAMES, DATA)
        assert len(self.stored(tmp_path)) == 1

    def test_nothing_of_it_stands_in_clear(self, tmp_path: Path) -> None:
        self.make(tmp_path).put(NAMES, DATA)
        assert all(b"hunter2" not in content for content in self.stored(tmp_path).values())

    def test_only_the_owner_can_read_its_files(self, tmp_path: Path) -> None:
        self.make(tmp_path).put(NAMES, DATA)
        assert all(path.stat().st_mode & 0o077 == 0 for path in self.stored(tmp_path))

    @pytest.mark.parametrize("position", range(len(NAMES)))
    def test_under_other_names_it_is_not_there(self, tmp_path: Path, position: int) -> None:
        store = self.make(tmp_path)
        digest = store.put(NAMES, DATA)
        other = tuple("other" if index == position else name for index, name in enumerate(NAMES))
        with pytest.raises(ArtifactMissing):
            store.get(other, digest)

    def test_a_file_moved_to_anothers_place_is_not_that_other(self, tmp_path: Path) -> None:
        store = self.make(tmp_path)
        digest = store.put(NAMES, DATA)
        (mine,) = self.stored(tmp_path)
        other = (*NAMES[:-1], "op_2")
        store.put(other, DATA)
        (theirs,) = set(self.stored(tmp_path)) - {mine}
        theirs.write_bytes(mine.read_bytes())
        with pytest.raises(ArtifactDamaged):
            store.get(other, digest)

    def test_any_changed_byte_is_found(self, tmp_path: Path) -> None:
        store = self.make(tmp_path)
        digest = store.put(NAMES, DATA)
        (path,) = self.stored(tmp_path)
        whole = path.read_bytes()
        for at in {0, len(whole) // 2, len(whole) - 1, *range(0, len(whole), 211)}:
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            with pytest.raises(ArtifactDamaged):
                store.get(NAMES, digest)
        path.write_bytes(whole[:-1])
        with pytest.raises(ArtifactDamaged):
            store.get(NAMES, digest)
        path.write_bytes(whole)
        assert store.get(NAMES, digest) == DATA

    def test_another_region_cannot_read_it(self, tmp_path: Path) -> None:
        digest = self.make(tmp_path).put(NAMES, DATA)
        with pytest.raises(ArtifactDamaged):
            self.make(tmp_path, b"s" * 32).get(NAMES, digest)

    def test_what_was_destroyed_is_gone_also_from_a_handle_that_was_open(self, tmp_path: Path) -> None:
        store = self.make(tmp_path)
        digest = store.put(NAMES, DATA)
        (path,) = self.stored(tmp_path)
        before = path.read_bytes()
        with path.open("rb") as kept_open:
            store.destroy(NAMES, digest)
            path.write_bytes(kept_open.read())
        assert path.read_bytes() != before
        with pytest.raises(ArtifactDamaged):
            store.get(NAMES, digest)

    def test_destroying_may_be_repeated(self, tmp_path: Path) -> None:
        store = self.make(tmp_path)
        digest = store.put(NAMES, DATA)
        store.destroy(NAMES, digest)
        store.destroy(NAMES, digest)
        assert not self.stored(tmp_path)
        with pytest.raises(ArtifactMissing):
            store.get(NAMES, digest)

    def test_a_sweep_takes_the_old_and_leaves_the_new(self, tmp_path: Path) -> None:
        store = self.make(tmp_path)
        old = store.put(NAMES, DATA)
        (path,) = self.stored(tmp_path)
        os.utime(path, (time.time() - 1000, time.time() - 1000))
        new = store.put(NAMES, b"new")
        assert store.sweep(time.time() - 500) == 1
        assert store.get(NAMES, new) == b"new"
        with pytest.raises(ArtifactMissing):
            store.get(NAMES, old)
