from __future__ import annotations

import hashlib
import os

import pytest

from lockgate.contract import snapshot
from lockgate.contract.snapshot import Entry, SnapshotError, snapshot_digest
from lockgate.job.source import walk

EMPTY = hashlib.sha256(b"").digest()


def entry(path, executable=False, size=0, digest=EMPTY):
    return Entry(path, executable, size, digest)


def test_the_digest_is_the_written_algorithm():
    whole = hashlib.sha256(b"lockgate-snapshot-v1\n")
    content = hashlib.sha256(b"hi").digest()
    whole.update(b"\0\0\0\x03a/b" + b"\x01" + (2).to_bytes(8, "big") + content)
    whole.update(b"\0\0\0\x01z" + b"\x00" + bytes(8) + EMPTY)
    entries = [entry("z"), entry("a/b", True, 2, content)]
    assert snapshot_digest(entries) == "sha256:" + whole.hexdigest()
    assert snapshot_digest(reversed(entries)) == snapshot_digest(entries)


def test_every_field_of_an_entry_counts():
    variants = [
        [entry("a")],
        [entry("b")],
        [entry("a", True)],
        [entry("a", size=1)],
        [entry("a", digest=bytes(32))],
        [entry("a"), entry("b")],
    ]
    assert len({snapshot_digest(variant) for variant in variants}) == len(variants)


@pytest.mark.parametrize(
    "path", ["", "/a", "a//b", "a/", "./a", "a/../b", "..", "a\nb", "a\0b", "a\\b", "a\u202eb", "\udcff", "x" * 1025]
)
def test_a_path_with_two_readings_is_refused(path):
    with pytest.raises(SnapshotError):
        snapshot_digest([entry(path)])


def test_nothing_twice_and_too_much_are_refused():
    for entries in ([], [entry("a"), entry("a")], [entry("a", size=snapshot.MAX_BYTES + 1)], [entry("a", digest=b"x")]):
        with pytest.raises(SnapshotError):
            snapshot_digest(entries)
    with pytest.raises(SnapshotError, match="10000 files"):
        snapshot_digest(entry(str(number)) for number in range(snapshot.MAX_FILES + 1))


def test_walk_finds_every_file(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "run").write_text("x")
    (tmp_path / "a" / "b" / "run").chmod(0o744)
    (tmp_path / ".hidden").write_text("")
    digest = hashlib.sha256(b"x").digest()
    found = {item.path: (item.executable, item.size, item.sha256) for item in walk(str(tmp_path))}
    assert found == {".hidden": (False, 0, entry("x").sha256), "a/b/run": (True, 1, digest)}


def link(root):
    (root / "l").symlink_to("/etc/passwd")


def link_to_directory(root):
    (root / "l").symlink_to("/etc")


def pipe(root):
    os.mkfifo(root / "p")


def empty(root):
    (root / "d").mkdir()


def newline(root):
    (root / "a\nb").write_text("")


def latin(root):
    (root / os.fsdecode(b"\xff")).write_text("")


@pytest.mark.parametrize("make", [link, link_to_directory, pipe, empty, newline, latin])
def test_walk_refuses_what_cannot_be_sealed(tmp_path, make):
    (tmp_path / "file").write_text("")
    make(tmp_path)
    with pytest.raises(SnapshotError):
        list(walk(str(tmp_path)))


def test_walk_stops_at_the_bounds(tmp_path, monkeypatch):
    monkeypatch.setattr("lockgate.job.source.MAX_BYTES", 10)
    (tmp_path / "large").write_text("x" * 11)
    with pytest.raises(SnapshotError, match="more than"):
        list(walk(str(tmp_path)))
