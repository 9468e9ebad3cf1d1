"""The job's image: the job root of ADR 7 on a small system, in layers by how often they change; it holds no key and no setting of anyone."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final

from lockgate.contract.podchannel import IMAGE_FILES
from lockgate.runner.image.archive import Entry, Image, RunAs, write_image
from lockgate.runner.image.system import system_entries
from lockgate.runner.sandbox.profile import INSIDE_UID, WORK
from lockgate.runner.sandbox.runtime_root import INSIDE, JobRoot

NAME: Final = "lockgate.test/job"
PATH: Final = "/usr/local/bin:/usr/bin"
_CODE: Final = Path("lib/lockgate")
_ELF: Final = b"\x7fELF"


def write_job_image(
    out: Path, root: JobRoot, *, name: str = NAME, tools: Mapping[str, Path] | None = None, held: Collection[Path] = ()
) -> Image:
    """Write an OCI archive of the job to ``out``; ``tools`` are more programs for its /usr/local/bin, by name, ``held`` more files that stages need not
    be sent. Raises ImageError, OSError."""
    tools = tools or {}
    elves = [path for path in _files(root.path) if _is_elf(path)]
    layers: list[list[Entry]] = [
        system_entries([*elves, *(path for path in (*tools.values(), *held) if _is_elf(path))]),
        list(_job_root(root.path, code=False)),
        list(_tools(tools, held)),
        list(_job_root(root.path, code=True)),
    ]
    run = RunAs(
        user=f"{INSIDE_UID}:{INSIDE_UID}",
        environment={"PATH": PATH, "LANG": "C.UTF-8", "TZ": "UTC", "HOME": WORK, **root.environment()},
        directory=WORK,
    )
    return write_image(out, name, [layer for layer in layers if layer], run)


def _files(root: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            if not path.is_symlink():
                yield path


def _is_elf(path: Path) -> bool:
    with path.open("rb") as content:
        return content.read(len(_ELF)) == _ELF


def _job_root(root: Path, *, code: bool) -> Iterator[Entry]:
    """The job root's places: Lockgate's own code, or all the rest, which changes only with what it stands on."""
    top = INSIDE.lstrip("/")
    if not code:
        yield Entry(top)
    for folder, folders, names in os.walk(root):
        for name in [*folders, *names]:
            path = Path(folder, name)
            below = path.relative_to(root)
            if below.is_relative_to(_CODE) is not code:
                continue
            place = f"{top}/{below}"
            if path.is_symlink():
                yield Entry(place, 0o777, link=str(path.readlink()))
            elif path.is_dir():
                yield Entry(place)
            else:
                yield Entry(place, path.stat().st_mode & 0o777, source=path)


def _tools(tools: Mapping[str, Path], held: Collection[Path]) -> Iterator[Entry]:
    """Each content once, under its digest, where the pod looks for it; tools by name too."""
    digests = {path: _sha256(path) for path in {*tools.values(), *held}}
    top = IMAGE_FILES.lstrip("/")
    if digests:
        yield Entry(top)
    for digest, path in {digest: path for path, digest in digests.items()}.items():
        yield Entry(f"{top}/{digest}", 0o555, source=path)
    if tools:
        yield from (Entry("usr/local"), Entry("usr/local/bin"))
    for name, path in tools.items():
        yield Entry(f"usr/local/bin/{name}", 0o777, link=f"{IMAGE_FILES}/{digests[path]}")


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def key_of(root_digest: str, tools: Mapping[str, Path]) -> str:
    """What decides an image, but for this machine's system: a digest for who keeps images, in hexadecimal."""
    digest = hashlib.sha256(root_digest.encode())
    for name, path in sorted(tools.items()):
        digest.update(f"{name}={_sha256(path)}\n".encode())
    return digest.hexdigest()
