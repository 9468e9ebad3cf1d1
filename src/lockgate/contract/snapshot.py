"""The digest of a sealed source, the same for the runner that seals and the job that looks again; it must not read a file itself.

A snapshot is its regular files: relative POSIX path, whether executable, size and SHA-256 of the content. Owners, times and other mode
bits do not count. A directory exists only as part of a file's path, so a sealer copies no empty one.
"""

from __future__ import annotations

from lockgate.contract.hashing import new_sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_FILES = 10_000
MAX_BYTES = 256 << 20
MAX_PATH_BYTES = 1024
_FORMAT = b"lockgate-snapshot-v1\n"


class SnapshotError(ValueError):
    """A source cannot be sealed or is not the sealed one: a link, a special file, an unusable name, or too much of it; the text names the path."""


class Entry:
    """One file: `path` relative with `/`, `size` in bytes, `sha256` the 32 raw bytes of the content's digest."""

    __slots__ = ("executable", "path", "sha256", "size")

    def __init__(self, path: str, executable: bool, size: int, sha256: bytes) -> None:
        self.path = path
        self.executable = executable
        self.size = size
        self.sha256 = sha256


def checked_path(path: str) -> bytes:
    """The UTF-8 bytes of a relative path without empty, `.` or `..` parts, backslashes or invisible characters. Raises SnapshotError."""
    try:
        raw = path.encode("utf-8")
    except UnicodeEncodeError:
        raise SnapshotError(f"{path!a}: the name is not UTF-8; rename the file") from None
    if len(raw) > MAX_PATH_BYTES:
        raise SnapshotError(f"{path[:80]!r}…: the path is longer than {MAX_PATH_BYTES} bytes")
    if any(part in ("", ".", "..") for part in path.split("/")):
        raise SnapshotError(f"{path!r}: not a plain relative path")
    if not path.replace(" ", "_").isprintable() or "\\" in path:
        raise SnapshotError(
            f"{path!a}: the name holds a control or invisible character or a backslash; rename the file"
        )
    return raw


def snapshot_digest(entries: Iterable[Entry]) -> str:
    """`sha256:` of a snapshot; the order of `entries` does not matter. Raises SnapshotError: a bad or repeated path, over the bounds, nothing.

    Fed to SHA-256: the format line, then per file in the order of path bytes: 4 bytes path length, path, one byte 1 or 0 for executable,
    8 bytes size, 32 bytes content digest; integers big-endian.
    """
    rows: dict[bytes, Entry] = {}
    total = 0
    for entry in entries:
        raw = checked_path(entry.path)
        if raw in rows:
            raise SnapshotError(f"{entry.path!r}: listed twice")
        rows[raw] = entry
        total += entry.size
        if len(rows) > MAX_FILES or total > MAX_BYTES:
            raise SnapshotError(
                f"the source has more than {MAX_FILES} files or {MAX_BYTES >> 20} MiB; point it at a smaller directory"
            )
    if not rows:
        raise SnapshotError("the source holds no file")
    whole = new_sha256(len(rows) * 128)
    whole.update(_FORMAT)
    for raw in sorted(rows):
        entry = rows[raw]
        if len(entry.sha256) != 32:
            raise SnapshotError(f"{entry.path!r}: the content digest must be 32 bytes")
        whole.update(len(raw).to_bytes(4, "big") + raw)
        whole.update(bytes([entry.executable]) + entry.size.to_bytes(8, "big") + entry.sha256)
    return "sha256:" + whole.hexdigest()
