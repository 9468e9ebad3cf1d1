"""Puts what the runner sends where the job looks for it: new files only, no link followed, bounded, each held against its digest."""

from __future__ import annotations

import os
import stat

from lockgate.contract import podchannel as pod
from lockgate.contract import strictjson
from lockgate.contract.hashing import new_sha256
from lockgate.contract.snapshot import SnapshotError, checked_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hashlib import _Hash
    from typing import Any

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MOUNTS = "/proc/self/mounts"
_MEMORY = ("tmpfs", "ramfs")
_HELD = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CHUNK = 1 << 20
_SHA256_DIGITS = 64


class NotPlaced(Exception):
    """What came cannot be put there; the text names the file and why."""


class Placing:
    """Everything of one delivery. `below` goes before each path, and is nothing in a pod; `image` is where the image holds files, each under its digest."""

    def __init__(self, below: str = "", image: str = pod.IMAGE_FILES) -> None:
        self._below, self._image = below, image
        self._tree = ""
        self._trees: set[str] = set()
        self._file = -1
        self._name = ""
        self._mode = 0
        self._content: _Hash | None = None
        self._files = pod.MAX_FILES
        self._bytes = pod.MAX_DELIVERED_BYTES

    def take(self, tag: bytes, payload: bytes) -> None:
        """One frame. Raises NotPlaced."""
        try:
            if tag == pod.CONTENT and self._content is not None:
                self._write(payload)
            elif tag == pod.DIGEST and self._content is not None:
                self._finish(payload)
            elif tag == pod.FILE and self._content is None:
                self._begin(_document(payload))
            elif tag == pod.HELD and self._content is None:
                self._link(_document(payload))
            elif tag == pod.TREE and self._content is None:
                self._tree = _text(_document(payload), "target")
                os.close(self._directory(self._tree))
                self._trees.add(self._tree)
            else:
                raise NotPlaced("the delivery is out of order")
        except OSError as error:
            raise NotPlaced(f"{self._name or self._tree}: {error.strerror}") from None

    def finish(self) -> None:
        """Nothing is under way; from here on the directories that came whole take no more files. Raises NotPlaced.

        A volume's own directory is root's, and stays as the kubelet made it.
        """
        if self._content is not None:
            raise NotPlaced(f"{self._name}: was not sent whole")
        mine = os.geteuid()
        for tree in self._trees:
            for directory, _, _ in os.walk(self._below + tree):
                if os.stat(directory).st_uid == mine:  # noqa: PTH116 -- pathlib costs 5 ms of the pod's start
                    os.chmod(directory, 0o555)  # noqa: PTH101, S103 -- as above; one uid lives here

    def _begin(self, said: dict[str, Any]) -> None:
        mode = said.get("mode")
        if type(mode) is not int or not 0 <= mode <= 0o777:
            raise NotPlaced("mode: not one")
        path, self._mode = self._next(said), mode
        parent, _, name = path.rpartition("/")
        directory = self._directory(parent)
        try:
            if said.get("memory") is True and not in_memory(self._below + parent):
                raise NotPlaced(f"{path}: {parent} is not in memory, and this must never be on a disk")
            self._file = os.open(name, _NEW, 0o600, dir_fd=directory)
        finally:
            os.close(directory)
        self._content = new_sha256(1 << 20)

    def _next(self, said: dict[str, Any]) -> str:
        """Where the next file goes."""
        path = f"{self._tree}/{_text(said, 'path')}" if "path" in said else _text(said, "target")
        if "path" in said and not self._tree:
            raise NotPlaced("a file of no directory")
        self._files -= 1
        if self._files < 0:
            raise NotPlaced(f"more than {pod.MAX_FILES} files")
        self._name = path
        return path

    def _link(self, said: dict[str, Any]) -> None:
        """A file that the image holds, which is read-only: a link to it, once its content is what the runner demands."""
        path, digest = self._next(said), said.get("digest")
        if not isinstance(digest, str) or not is_digest(digest):
            raise NotPlaced(f"{path}: digest: not one")
        held = f"{self._image}/{digest}"
        if _sha256(held) != digest:
            raise NotPlaced(f"{path}: the image's {held} is not what its name says")
        parent, _, name = path.rpartition("/")
        directory = self._directory(parent)
        try:
            os.symlink(held, name, dir_fd=directory)
        finally:
            os.close(directory)

    def _write(self, payload: bytes) -> None:
        self._bytes -= len(payload)
        if self._bytes < 0:
            raise NotPlaced(f"more than {pod.MAX_DELIVERED_BYTES >> 20} MiB")
        assert self._content is not None  # noqa: S101 -- `take` has seen to it
        self._content.update(payload)
        view = memoryview(payload)
        while view:
            view = view[os.write(self._file, view) :]

    def _finish(self, digest: bytes) -> None:
        assert self._content is not None  # noqa: S101 -- `take` has seen to it
        if self._content.digest() != digest:
            raise NotPlaced(f"{self._name}: what came does not match its digest")
        os.fchmod(self._file, self._mode)
        os.close(self._file)
        self._file, self._content = -1, None

    def _directory(self, path: str) -> int:
        """A descriptor of it, made where it is missing, without following a link on the way."""
        try:
            checked_path(path[1:])
        except SnapshotError as error:
            raise NotPlaced(str(error)) from None
        if not path.startswith("/"):
            raise NotPlaced(f"{path!a}: no absolute path")
        here = os.open(self._below or "/", _DIRECTORY)
        try:
            for part in path[1:].split("/"):
                try:
                    inner = os.open(part, _DIRECTORY, dir_fd=here)
                except FileNotFoundError:
                    os.mkdir(part, 0o755, dir_fd=here)
                    inner = os.open(part, _DIRECTORY, dir_fd=here)
                os.close(here)
                here = inner
        except OSError:
            os.close(here)
            raise
        return here


def is_digest(text: str) -> bool:
    """Whether it is a SHA-256 in lower-case hexadecimal."""
    return len(text) == _SHA256_DIGITS and not text.strip("0123456789abcdef")


def _sha256(path: str) -> str:
    """Of a regular file that is no link. Raises OSError, NotPlaced."""
    reading = os.open(path, _HELD)
    try:
        found = os.fstat(reading)
        if not stat.S_ISREG(found.st_mode):
            raise NotPlaced(f"{path}: no regular file")
        total = new_sha256(found.st_size)
        while chunk := os.read(reading, _CHUNK):
            total.update(chunk)
        return total.hexdigest()
    finally:
        os.close(reading)


def in_memory(path: str) -> bool:
    """Whether what is written below `path` stays in memory, by the mount it is on."""
    best, kind = "", ""
    with open(_MOUNTS, encoding="utf-8", errors="surrogateescape") as stream:  # noqa: PTH123 -- as above
        for line in stream:
            _, point, found, *_ = line.split(" ")
            if (path == point or path.startswith(point.rstrip("/") + "/")) and len(point) >= len(best):
                best, kind = point, found
    return kind in _MEMORY


def _document(payload: bytes) -> dict[str, Any]:
    try:
        said = strictjson.loads(payload, max_bytes=pod.MAX_FRAME_BYTES)
    except strictjson.StrictJSONError as error:
        raise NotPlaced(f"a file's head: {error}") from None
    if not isinstance(said, dict):
        raise NotPlaced("a file's head: no object")
    return said


def _text(said: dict[str, Any], name: str) -> str:
    value = said.get(name)
    if not isinstance(value, str):
        raise NotPlaced(f"{name}: no text")
    try:
        checked_path(value.removeprefix("/") if name == "target" else value)
    except SnapshotError as error:
        raise NotPlaced(str(error)) from None
    return value
