"""The trusted programs and providers of this runner, copied while they are hashed; what is not on its allow-list is not there for any stage (TRUST §2).

It must not start a tool: which build runs is decided by its digest alone.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lockgate.contract.drivers import declarations
from lockgate.runner.settings import ProviderSettings, RunnerSettings

_CHUNK: Final = 1 << 20
MAX_PROGRAM_BYTES: Final = 512 << 20
MAX_PROVIDERS: Final = 200
_DEPTH: Final = 5
"""Below a mirror: host/namespace/type/version/platform."""


class ToolboxError(RuntimeError):
    """A program or mirror of the settings cannot be read; the message names the setting and the path."""


@dataclass(frozen=True, slots=True)
class Program:
    """One trusted build: `directory` holds it under its own name; `sha256` is `sha256:` hex of its bytes; `version` is the settings' word."""

    name: str
    directory: Path
    sha256: str
    version: str


@dataclass(frozen=True, slots=True)
class Toolbox:
    """What stages may be given. `contents`: each file of the `mirror` by its path in it, as SHA-256 (hex). `untrusted` says in words what was found and
    is not on the allow-list."""

    programs: Mapping[str, Program] = field(default_factory=dict)
    mirror: Path | None = None
    providers: Mapping[str, str] = field(default_factory=dict)
    untrusted: tuple[str, ...] = ()
    contents: Mapping[str, str] = field(default_factory=dict)


def open_toolbox(settings: RunnerSettings) -> Toolbox:
    """Copy what the settings name and trust below the sandboxes' directory, named by content. Raises ToolboxError, OSError. Blocks; run it in a thread."""
    base = settings.sandbox.base_dir
    file_names = {need.name: need.program for each in declarations().values() for need in each.tools if need.program}
    programs, untrusted = {}, []
    for name, tool in settings.tools.items():
        if tool.path is None:
            continue
        if name not in file_names:
            raise ToolboxError(f"tools.{name}.path: only these tools are programs: {', '.join(sorted(file_names))}")
        program = _take_program(base / "tools", name, file_names[name] or name, tool.path, tool.version)
        if settings.tool_allowed(name, program.sha256):
            programs[name] = program
        else:
            untrusted.append(f"{name}: the build at {tool.path} ({program.sha256}) is not in tools.{name}.sha256")
    if settings.providers.mirror is None:
        return Toolbox(programs, untrusted=tuple(untrusted))
    mirror, providers, others = _take_providers(base / "providers", settings.providers, settings.providers.mirror)
    contents = {str(path.relative_to(mirror)): _file_sha256(path) for path in mirror.rglob("*") if path.is_file()}
    return Toolbox(programs, mirror, providers, (*untrusted, *others), contents)


def _take_program(into: Path, name: str, file_name: str, source: Path, version: str) -> Program:
    try:
        into.mkdir(mode=0o755, parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=into))
        try:
            sha256 = _copy(source, draft / file_name, 0o555)
            draft.chmod(0o755)
            final = into / sha256.removeprefix("sha256:")
            _settle(draft, final)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise ToolboxError(f"tools.{name}.path: {source}: {error.strerror}") from None
    return Program(name, final, sha256, version)


def _settle(draft: Path, final: Path) -> None:
    """In place of what an earlier start left under the same name: only what was hashed just now is trusted, not what a name says."""
    if final.is_dir():
        shutil.rmtree(final)
    draft.rename(final)


def _copy(source: Path, target: Path, mode: int) -> str:
    total, size = hashlib.sha256(), 0
    with source.open("rb") as reading, target.open("xb") as writing:
        while chunk := reading.read(_CHUNK):
            size += len(chunk)
            if size > MAX_PROGRAM_BYTES:
                raise OSError(27, f"larger than {MAX_PROGRAM_BYTES >> 20} MiB")
            total.update(chunk)
            writing.write(chunk)
    target.chmod(mode)
    return "sha256:" + total.hexdigest()


def _take_providers(
    into: Path, settings: ProviderSettings, mirror: Path
) -> tuple[Path, dict[str, str], tuple[str, ...]]:
    into.mkdir(mode=0o755, parents=True, exist_ok=True)
    taken: dict[str, str] = {}
    untrusted = []
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=into))
    try:
        for source in _packages(mirror):
            place = draft / source.relative_to(mirror)
            place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            key = "/".join(source.relative_to(mirror).parts)
            digest = _take_package(source, place)
            if settings.any or digest in settings.h1:
                taken[key] = digest
            else:
                untrusted.append(f"provider {key}: its hash {digest} is not in providers.h1")
                shutil.rmtree(place) if place.is_dir() else place.unlink()
        for directory, _, _ in os.walk(draft):
            Path(directory).chmod(0o755)
        name = hashlib.sha256(repr(sorted(taken.items())).encode()).hexdigest()
        _settle(draft, into / name)
    except OSError as error:
        raise ToolboxError(f"providers.mirror: {error.filename or mirror}: {error.strerror}") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return into / name, taken, tuple(untrusted)


def _packages(mirror: Path) -> Iterator[Path]:
    """Every provider package of a filesystem_mirror: a directory `host/namespace/type/version/platform`, or a zip beside the versions."""
    found = [path for path in sorted(mirror.glob("/".join(["*"] * _DEPTH))) if path.is_dir()]
    found += sorted(path for path in mirror.glob("*/*/*/terraform-provider-*.zip") if path.is_file())
    if not mirror.is_dir():
        raise ToolboxError(f"providers.mirror: {mirror} is no directory")
    if len(found) > MAX_PROVIDERS:
        raise ToolboxError(f"providers.mirror: {mirror} holds more than {MAX_PROVIDERS} packages; name a smaller one")
    yield from found


def _take_package(source: Path, place: Path) -> str:
    """Copy one package and answer its `h1:` hash, the one a `.terraform.lock.hcl` holds, over the copy."""
    if source.is_dir():
        for directory, names, files in os.walk(source):
            names.sort()
            inside = place / Path(directory).relative_to(source)
            inside.mkdir(mode=0o755, parents=True, exist_ok=True)
            for name in files:
                _copy(Path(directory, name), inside / name, 0o555)
        return h1_of_directory(place)
    _copy(source, place, 0o444)
    return h1_of_zip(place)


def h1_of_directory(directory: Path) -> str:
    """Go's `dirhash.Hash1` of a directory: what Terraform and OpenTofu call a package's `h1:` hash."""
    files = {str(path.relative_to(directory)): path for path in directory.rglob("*") if path.is_file()}
    return _h1({name: _file_sha256(path) for name, path in files.items()})


def h1_of_zip(path: Path) -> str:
    """The same of a package that is still zipped. Raises ToolboxError for what is no zip."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [item for item in archive.infolist() if not item.is_dir()]
            if len({item.filename for item in members}) != len(members):
                raise ToolboxError(f"providers.mirror: {path}: holds a name twice; no engine packs that")
            if sum(item.file_size for item in members) > MAX_PROGRAM_BYTES:
                raise ToolboxError(f"providers.mirror: {path}: unpacks to more than {MAX_PROGRAM_BYTES >> 20} MiB")
            return _h1({item.filename: hashlib.sha256(archive.read(item)).hexdigest() for item in members})
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise ToolboxError(f"providers.mirror: {path}: {error}") from None


def _h1(digests: Mapping[str, str]) -> str:
    """Raises ToolboxError for a name that would read as two lines: with it, other files would have the hash of those that are trusted."""
    if any("\n" in name for name in digests):
        raise ToolboxError(
            "providers.mirror: a package holds a file with a line break in its name; no engine packs that"
        )
    lines = "".join(f"{digests[name]}  {name}\n" for name in sorted(digests))
    return "h1:" + base64.b64encode(hashlib.sha256(lines.encode()).digest()).decode()


def _file_sha256(path: Path) -> str:
    total = hashlib.sha256()
    with path.open("rb") as reading:
        while chunk := reading.read(_CHUNK):
            total.update(chunk)
    return total.hexdigest()
