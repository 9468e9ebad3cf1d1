"""Reads and writes the gzipped tar archive that OPA calls a bundle, within bounds; it writes no file and judges no content.

Nothing is ever unpacked to a disk: names are keys of a mapping. They are judged all the same, since who unpacks the same archive with `tar` is
owed the same picture.
"""

from __future__ import annotations

import gzip
import io
import re
import tarfile
import zlib
from collections.abc import Mapping
from typing import Final

from lockgate.policy.port import PolicyLoadError

MAX_ARCHIVE_BYTES: Final = 32 << 20
MAX_UNPACKED_BYTES: Final = 64 << 20
MAX_FILES: Final = 2_000
MAX_PATH: Final = 255

_PATH: Final = re.compile(r"[A-Za-z0-9_.+@-]+(?:/[A-Za-z0-9_.+@-]+)*")
_GZIP: Final = 31
_NO_DATES: Final = {"uid": 0, "gid": 0, "uname": "", "gname": "", "mtime": 0, "mode": 0o644}


def unpack(archive: bytes, name: str) -> dict[str, bytes]:
    """Path → content of a bundle called `name`; a path's one leading `/`, as `opa build` writes it, is taken away.

    Raises PolicyLoadError for an archive too large, packed too tightly or cut, and for anything in it that is no regular file once.
    """
    if len(archive) > MAX_ARCHIVE_BYTES:
        raise PolicyLoadError(name, f"is larger than {MAX_ARCHIVE_BYTES} bytes")
    if not archive:
        raise PolicyLoadError(name, "is empty")
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(
            fileobj=io.BytesIO(_unzip(archive, name)), mode="r:", encoding="utf-8", errors="strict"
        ) as tar:
            for count, member in enumerate(tar):
                if count >= MAX_FILES:
                    raise PolicyLoadError(name, f"holds more than {MAX_FILES} files")
                path = _path(member.name, name)
                files[path] = _content(tar, member, name, path, seen=path in files)
    except (tarfile.TarError, UnicodeError, EOFError, OverflowError, ValueError) as error:
        raise PolicyLoadError(name, f"is no tar archive: {str(error)[:200]}") from None
    if not files:
        raise PolicyLoadError(name, "is empty: there is no file in it")
    return files


def pack(files: Mapping[str, bytes]) -> bytes:
    """The archive of these files; the same files give the same bytes (by one zlib)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:", format=tarfile.PAX_FORMAT, encoding="utf-8") as tar:
        for path in sorted(files):
            member = tarfile.TarInfo(path)
            member.size = len(files[path])
            for attribute, value in _NO_DATES.items():
                setattr(member, attribute, value)
            tar.addfile(member, io.BytesIO(files[path]))
    return gzip.compress(buffer.getvalue(), compresslevel=9, mtime=0)


def check_path(path: str, bundle: str) -> None:
    """Refuse a path that does not stay below the bundle, or that could be read in two ways. Raises PolicyLoadError."""
    if len(path) > MAX_PATH or not _PATH.fullmatch(path) or {".", ".."} & set(path.split("/")):
        raise PolicyLoadError(
            bundle,
            f"holds a file called {path[:80]!r}: a path must stay below the bundle, of letters, digits and any of . _ + @ -",
        )


def _unzip(archive: bytes, name: str) -> bytes:
    inflate = zlib.decompressobj(_GZIP)
    try:
        # One byte more than is allowed: a bomb costs no more than that.
        unpacked = inflate.decompress(archive, MAX_UNPACKED_BYTES + 1)
    except zlib.error as error:
        raise PolicyLoadError(name, f"is no gzip archive: {error}") from None
    if len(unpacked) > MAX_UNPACKED_BYTES:
        raise PolicyLoadError(name, f"unpacks to more than {MAX_UNPACKED_BYTES} bytes")
    if not inflate.eof:
        raise PolicyLoadError(name, "is cut short: its gzip stream does not end")
    if inflate.unused_data:
        raise PolicyLoadError(name, "goes on after the end of its gzip stream")
    return unpacked


def _path(stored: str, name: str) -> str:
    path = stored.removeprefix("/")
    check_path(path, name)
    return path


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo, name: str, path: str, *, seen: bool) -> bytes:
    if seen:
        raise PolicyLoadError(name, "stands twice in the archive", field=path)
    if not member.isreg() or member.issparse():
        raise PolicyLoadError(name, "is no regular file; a bundle holds nothing else", field=path)
    if member.size > MAX_UNPACKED_BYTES:
        raise PolicyLoadError(
            name, f"says to be {member.size} bytes; at most {MAX_UNPACKED_BYTES} are read", field=path
        )
    stream = tar.extractfile(member)
    content = stream.read() if stream is not None else b""
    if len(content) != member.size:
        raise PolicyLoadError(name, "is cut short", field=path)
    return content
