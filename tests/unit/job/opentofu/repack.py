"""Packs plan files as an engine's zip writer does, so that only what a test changed tells them apart from real ones."""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Iterable
from typing import Any


class _Stream(io.RawIOBase):
    """A sink that cannot seek: the zip writer then leaves sizes to data descriptors, as Go's does."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.data += data
        return len(data)


def pack(members: Iterable[tuple[str, bytes]]) -> bytes:
    sink = _Stream()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return bytes(sink.data)


def members(plan: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(plan)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def changed(plan: bytes, **replaced: bytes) -> bytes:
    """The plan with members replaced or added; `/` in a name is written `__`, a dot `_DOT_`."""
    names = {name.replace("__", "/").replace("_DOT_", "."): content for name, content in replaced.items()}
    return pack({**members(plan), **names}.items())
