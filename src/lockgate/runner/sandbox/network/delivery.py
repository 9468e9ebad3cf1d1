"""A stage's binds and files as frames, read piece by piece; no link is followed, nothing is held whole, and what cannot be sent is refused by name."""

from __future__ import annotations

import base64
import hashlib
import os
import stat
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lockgate.contract import jobplaces
from lockgate.contract import podchannel as pod
from lockgate.contract.snapshot import SnapshotError, checked_path
from lockgate.runner.sandbox.network.link import document, framed
from lockgate.runner.sandbox.port import Bind, InjectedFile, SandboxSpec, SpecRefused
from lockgate.runner.sandbox.profile import base_environment
from lockgate.runner.sandbox.seccomp import job_filter

BATCH_BYTES: Final = 1 << 20
MOVED_OUT: Final = b"Lockgate: moved into a pod, and not come back\n"
"""What is left of a writable file while its content is in a pod: whoever reads it must not take it for what holds (TRUST §5)."""
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(slots=True)
class _Bounds:
    had: Collection[str] = ()
    files: int = field(default_factory=lambda: pod.MAX_FILES)
    size: int = field(default_factory=lambda: pod.MAX_DELIVERED_BYTES)

    def spend(self, count: int) -> None:
        self.size -= count
        if self.size < 0:
            raise SpecRefused(f"binds, files: more than {pod.MAX_DELIVERED_BYTES >> 20} MiB; a pod is not sent so much")

    def one_more(self) -> None:
        self.files -= 1
        if self.files < 0:
            raise SpecRefused(f"binds, files: more than {pod.MAX_FILES} files; a pod is not sent so many")


def check_binds(spec: SandboxSpec) -> None:
    """A pod shares nothing with this host: directories go there as copies, and only whole files come back. Raises SpecRefused."""
    for bind in spec.binds:
        if bind.writable and not bind.source.is_file():
            raise SpecRefused(
                f"binds.target {bind.target}: a pod cannot write to a directory of the runner's host; let the target's stages reach it"
                " over the network, or run them in another sandbox"
            )


def sent_binds(spec: SandboxSpec) -> list[Bind]:
    """The binds that are sent: all but the job root, which the image holds."""
    return [bind for bind in spec.binds if bind.target != jobplaces.SANDBOX_ROOT]


def order(spec: SandboxSpec, egress: bool) -> bytes:
    """The frame that says what to run. Raises SpecRefused when it is too large."""
    environment = base_environment() | dict(spec.env)
    if egress:
        environment[jobplaces.EGRESS_VARIABLE] = pod.EGRESS_SOCKET
    limits = spec.limits
    content = {
        "argv": list(spec.argv),
        "env": environment,
        "limits": {
            "cpu_seconds": limits.cpu_seconds,
            "file_bytes": limits.file_bytes,
            "inodes": limits.inodes,
            "open_files": limits.open_files,
            "processes": limits.processes,
            "wall_seconds": limits.wall_seconds,
        },
        "back": [bind.target for bind in spec.binds if bind.writable],
        # A runtime's own profile lets through much of what a job has no use for (ADR 39).
        "filter": base64.b64encode(job_filter(os.uname().machine, loopback=egress)).decode(),
    }
    try:
        return document(pod.ORDER, content)
    except ValueError:
        raise SpecRefused(f"argv, env: more than {pod.MAX_FRAME_BYTES >> 10} KiB together") from None


def frames(spec: SandboxSpec, had: Collection[str] = ()) -> Iterator[bytes]:
    """Everything from the first file to the last, in pieces; of those that the image says it has (``had``, by SHA-256) the digest alone, which the pod
    holds what it has against. Blocks on disk. Raises SpecRefused, OSError."""
    bounds = _Bounds(had)
    for bind in sent_binds(spec):
        if bind.source.is_dir():
            yield document(pod.TREE, {"target": bind.target})
            yield from _tree(bind, bounds)
        else:
            yield from _file(bind.source, bind, bounds)
    for file in spec.files:
        yield from _injected(file, bounds)


def batches(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same, a megabyte at a time, so that few threads have to be asked."""
    batch = bytearray()
    for piece in pieces:
        batch += piece
        if len(batch) >= BATCH_BYTES:
            yield bytes(batch)
            batch.clear()
    yield bytes(batch)


def _tree(bind: Bind, bounds: _Bounds) -> Iterator[bytes]:
    root = os.open(bind.source, _DIRECTORY)
    stack = [(root, "")]
    try:
        while stack:
            directory, below = stack.pop()
            try:
                for name in _names(directory):
                    path = f"{below}{name}"
                    kind = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
                    if stat.S_ISDIR(kind):
                        stack.append((os.open(name, _DIRECTORY, dir_fd=directory), path + "/"))
                    else:
                        yield from _entry(bind, directory, path, bounds)
            finally:
                os.close(directory)
    finally:
        for directory, _ in stack:
            os.close(directory)


def _names(directory: int) -> list[str]:
    with os.scandir(directory) as listing:
        return sorted(child.name for child in listing)


def _entry(bind: Bind, directory: int, path: str, bounds: _Bounds) -> Iterator[bytes]:
    try:
        checked_path(path)
        reading = os.open(path.rpartition("/")[2], _FILE, dir_fd=directory)
    except (SnapshotError, OSError) as error:
        raise SpecRefused(f"binds.target {bind.target}: {path!a} cannot be sent: {error}") from None
    with os.fdopen(reading, "rb", buffering=0) as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise SpecRefused(f"binds.target {bind.target}: {path!a} is neither a file nor a directory")
        digest = bind.contents.get(path)
        if digest is not None and digest in bounds.had and status.st_mode & 0o111:
            bounds.one_more()
            yield document(pod.HELD, {"path": path, "digest": digest})
            return
        yield document(pod.FILE, {"path": path, "mode": 0o555 if status.st_mode & 0o111 else 0o444})
        yield from _content(stream.read, bounds)


def _file(source: Path, bind: Bind, bounds: _Bounds) -> Iterator[bytes]:
    with os.fdopen(os.open(source, _FILE), "rb", buffering=0) as stream:
        mode = 0o600 if bind.writable else 0o555 if os.fstat(stream.fileno()).st_mode & 0o111 else 0o444
        yield document(pod.FILE, {"target": bind.target, "mode": mode, "memory": False})
        yield from _content(stream.read, bounds)


def _injected(file: InjectedFile, bounds: _Bounds) -> Iterator[bytes]:
    yield document(pod.FILE, {"target": file.target, "mode": file.mode & 0o777, "memory": True})
    view, at = memoryview(file.content), 0

    def read(size: int) -> memoryview:
        nonlocal at
        at += size
        return view[at - size : at]

    yield from _content(read, bounds)


def _content(read: Callable[[int], bytes | memoryview], bounds: _Bounds) -> Iterator[bytes]:
    bounds.one_more()
    total = hashlib.sha256()
    while chunk := read(pod.MAX_FRAME_BYTES):
        bounds.spend(len(chunk))
        total.update(chunk)
        yield framed(pod.CONTENT, bytes(chunk))
    yield framed(pod.DIGEST, total.digest())
