"""The policy that a path names, whichever of the forms it has; for policies that only try, so nobody's signature is asked for. It must not make one decide."""

from __future__ import annotations

from pathlib import Path

from lockgate.policy.bundle import PolicyBundle
from lockgate.policy.bundles.layout import MANIFEST, SIGNATURES, read_bundle
from lockgate.policy.sources.file import DirectorySource, FileSource
from lockgate.policy.sources.library import LibrarySource
from lockgate.policy.sources.port import BundleSource, Fetched


def named_source(path: Path) -> BundleSource:
    """A bundle (`.tar.gz`, or an unpacked one with its `.manifest`), or else a data file, or a directory with `data.yaml`, for the built-in library."""
    if path.name.endswith((".tar.gz", ".tgz")):
        return FileSource(path)
    return DirectorySource(path) if (path / MANIFEST).exists() else LibrarySource(path)


def unsigned_bundle(fetched: Fetched) -> PolicyBundle:
    """The policy in these files, whoever signed them. Blocks. Raises PolicyLoadError."""
    return read_bundle({path: content for path, content in fetched.files.items() if path != SIGNATURES}, fetched.name)
