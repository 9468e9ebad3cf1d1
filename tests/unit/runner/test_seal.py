import os
import socket
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from lockgate.contract import snapshot
from lockgate.job.source import walk
from lockgate.runner import seal as sealing
from lockgate.runner.seal import SealRefused, seal


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    (root / "roles" / "web").mkdir(parents=True)
    (root / "site.yml").write_bytes(b"- hosts: all\n")
    (root / "roles" / "web" / "ünï.txt").write_bytes(b"x" * 300_000)
    (root / "run").write_bytes(b"#!/bin/sh\n")
    (root / "run").chmod(0o700)
    return root


def test_the_snapshot_is_a_read_only_copy_that_the_job_digests_alike(source: Path, tmp_path: Path) -> None:
    sealed, dest = seal(source, tmp_path / "dest"), tmp_path / "dest"
    assert snapshot.snapshot_digest(walk(dest)) == snapshot.snapshot_digest(walk(source)) == sealed
    modes = {str(path.relative_to(dest)): stat.S_IMODE(path.stat().st_mode) for path in dest.rglob("*")}
    assert modes == {"roles": 0o755, "roles/web": 0o755, "roles/web/ünï.txt": 0o444, "run": 0o555, "site.yml": 0o444}
    assert stat.S_IMODE(dest.stat().st_mode) == 0o755


def test_the_same_content_has_the_same_digest_and_any_change_another(source: Path, tmp_path: Path) -> None:
    def digest(name: str) -> str:
        return seal(source, tmp_path / name)

    first = digest("1")
    os.utime(source / "site.yml", (1, 1))
    (source / "empty").mkdir()
    assert digest("2") == first
    (source / "site.yml").chmod(0o755)
    executable = digest("3")
    (source / "site.yml").write_bytes(b"- hosts: al1\n")
    changed = digest("4")
    (source / "site.yml").rename(source / "site2.yml")
    assert len({first, executable, changed, digest("5")}) == 4


def test_a_hard_link_is_copied_as_a_file_of_its_own(source: Path, tmp_path: Path) -> None:
    os.link(source / "site.yml", source / "twin.yml")
    dest = tmp_path / "dest"
    seal(source, dest)
    (source / "twin.yml").write_bytes(b"changed after sealing")
    assert (dest / "site.yml").read_bytes() == b"- hosts: all\n"
    assert (dest / "twin.yml").stat().st_nlink == 1


def unix_socket(path: Path) -> None:
    here = Path.cwd()
    with socket.socket(socket.AF_UNIX) as listener:
        os.chdir(path.parent)  # a socket's path is short
        try:
            listener.bind(path.name)
        finally:
            os.chdir(here)


BAD: dict[str, Callable[[Path], object]] = {
    "a link to a file": lambda root: (root / "bad").symlink_to("site.yml"),
    "a link to a directory": lambda root: (root / "bad").symlink_to("roles"),
    "a link out of the source": lambda root: (root / "roles" / "bad").symlink_to("/etc/passwd"),
    "a dangling link": lambda root: (root / "bad").symlink_to("nothing"),
    "a pipe": lambda root: os.mkfifo(root / "bad"),
    "a socket": lambda root: unix_socket(root / "bad"),
    "a control character": lambda root: (root / "bad\n").write_bytes(b""),
    "a bidi character": lambda root: (root / "bad\u202e").write_bytes(b""),
    "a name that is not UTF-8": lambda root: Path(os.fsdecode(os.fsencode(root) + b"/bad\xff")).write_bytes(b""),
    "a backslash": lambda root: (root / "bad\\x").write_bytes(b""),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_no_plain_file_with_a_plain_name_is_refused_and_nothing_is_left(
    source: Path, tmp_path: Path, what: str
) -> None:
    BAD[what](source)
    with pytest.raises(SealRefused, match="bad"):
        seal(source, tmp_path / "dest")
    assert not (tmp_path / "dest").exists()


def test_the_source_itself_must_be_a_directory_and_no_link(source: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(source)
    for wrong in (tmp_path / "link", source / "site.yml", tmp_path / "missing"):
        with pytest.raises(SealRefused, match="must be a directory"):
            seal(wrong, tmp_path / "dest")


def test_an_empty_source_is_refused(tmp_path: Path) -> None:
    (tmp_path / "source" / "empty").mkdir(parents=True)
    with pytest.raises(SealRefused, match="no file"):
        seal(tmp_path / "source", tmp_path / "dest")
    assert not (tmp_path / "dest").exists()


def test_more_files_or_bytes_than_the_bounds_are_refused(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing, "MAX_FILES", 4)
    with pytest.raises(SealRefused, match="more than 4 files"):
        seal(source, tmp_path / "dest")
    monkeypatch.setattr(sealing, "MAX_FILES", 5)
    monkeypatch.setattr(sealing, "MAX_BYTES", 1 << 18)
    with pytest.raises(SealRefused, match="MiB"):
        seal(source, tmp_path / "dest")
    assert not (tmp_path / "dest").exists()


def test_too_deep_a_tree_is_refused_before_descriptors_run_out(tmp_path: Path) -> None:
    place = tmp_path / "source"
    for _ in range(70):
        place = place / "d"
    place.mkdir(parents=True)
    with pytest.raises(SealRefused, match="deeper"):
        seal(tmp_path / "source", tmp_path / "dest")


def test_a_file_that_changes_while_it_is_read_is_refused(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.read

    def read(descriptor: int, count: int) -> bytes:
        data = real(descriptor, count)
        if data.startswith(b"- hosts"):
            with (source / "site.yml").open("ab") as file:
                file.write(b"more")
        return data

    monkeypatch.setattr(os, "read", read)
    with pytest.raises(SealRefused, match="changed while"):
        seal(source, tmp_path / "dest")
    assert not (tmp_path / "dest").exists()


@pytest.mark.parametrize("by", ["link", "pipe", "directory"])
def test_a_file_replaced_between_look_and_open_is_not_followed(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    real = os.open

    def replacing(path: object, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if path == "site.yml" and not flags & os.O_CREAT:
            (source / "site.yml").unlink()
            if by == "link":
                (source / "site.yml").symlink_to("/etc/passwd")
            elif by == "pipe":
                os.mkfifo(source / "site.yml")
            else:
                (source / "site.yml").mkdir()
        return real(path, flags, mode, dir_fd=dir_fd)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", replacing)
    done = threading.Event()

    def attempt() -> None:
        with pytest.raises(SealRefused, match=r"site\.yml"):
            seal(source, tmp_path / "dest")
        done.set()

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(60)
    assert done.is_set()


def test_a_directory_replaced_by_a_link_is_not_followed(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret").write_bytes(b"secret")
    real = os.open

    def replacing(path: object, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if path == "roles" and (source / "roles").is_dir() and not (source / "roles").is_symlink():
            (source / "roles").rename(tmp_path / "moved")
            (source / "roles").symlink_to(tmp_path / "elsewhere")
        return real(path, flags, mode, dir_fd=dir_fd)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", replacing)
    with pytest.raises(SealRefused, match="replaced"):
        seal(source, tmp_path / "dest")


def test_an_existing_destination_is_neither_filled_nor_removed(source: Path, tmp_path: Path) -> None:
    (tmp_path / "dest").mkdir()
    (tmp_path / "dest" / "mine").write_bytes(b"")
    with pytest.raises(FileExistsError):
        seal(source, tmp_path / "dest")
    assert (tmp_path / "dest" / "mine").exists()
