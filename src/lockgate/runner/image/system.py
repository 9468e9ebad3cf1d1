"""The system part of the job's image: a shell, the small programs that tools call, and the libraries all of it is linked with.

From this machine, as the interpreter is (ADR 7): what a program here is linked with is what it will find there. It must not take
anything of this machine's /etc but the public certificates.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from lockgate.runner.image.archive import Entry
from lockgate.runner.sandbox.hostlayout import ETC
from lockgate.runner.sandbox.profile import WORK

PROGRAMS: Final = (
    *("sh", "bash", "env", "cat", "chmod", "cp", "cut", "date", "dirname", "basename", "du", "echo", "expr", "false"),
    *("head", "id", "install", "ln", "ls", "mkdir", "mktemp", "mv", "printf", "pwd", "readlink", "realpath", "rm"),
    *("rmdir", "seq", "sha256sum", "sleep", "sort", "stat", "tail", "tee", "test", "timeout", "touch", "tr", "true"),
    *("uname", "uniq", "wc", "xargs", "find", "grep", "sed", "tar", "gzip", "diff"),
)
CERTIFICATES: Final = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")
"""Where systems keep the public certificate authorities, in one file."""

LOCALE: Final = "/usr/lib/locale/C.utf8"
"""The locale that every job runs in; tools such as Ansible refuse one that is not there."""

_MOUNT_POINTS: Final = ("dev", "proc", "sys", "run", "tmp", WORK.lstrip("/"))
_MERGED: Final = ("bin", "lib", "lib64", "sbin")
_SYSTEM: Final = ("usr", *_MERGED)
_LDD_SECONDS: Final = 120
_LINKED: Final = re.compile(r"^\s+(?:\S+ => )?(/\S+) \(0x[0-9a-f]+\)$", re.MULTILINE)
_UNFOUND: Final = re.compile(r"^\s+(\S+) => not found$", re.MULTILINE)


class ImageError(RuntimeError):
    """The image cannot be made; the message names what is missing and how to get it."""


def system_entries(linked: Collection[Path], programs: Collection[str] = PROGRAMS) -> list[Entry]:
    """The layer under a job root whose programs and libraries are ``linked``; raises ImageError for a program or library that is not here."""
    found = {name: _program(name) for name in programs}
    entries = {entry.place: entry for entry in (*_skeleton(), *_locale())}
    for name, path in found.items():
        entries[f"usr/bin/{name}"] = Entry(f"usr/bin/{name}", source=path)
    for library in libraries([*found.values(), *linked]):
        place = _merged(library)
        entries[place] = Entry(place, source=library.resolve())
    for parent in {parent for place in entries for parent in Path(place).parents if str(parent) != "."}:
        entries.setdefault(str(parent), Entry(str(parent)))
    return list(entries.values())


def _locale() -> Iterator[Entry]:
    files = [path for path in sorted(Path(LOCALE).rglob("*")) if path.is_file()]
    if not files:
        raise ImageError(f"{LOCALE} is not on this machine, and jobs run in that locale: install what brings it")
    for path in files:
        yield Entry(str(path).lstrip("/"), 0o644, source=path.resolve())


def _program(name: str) -> Path:
    path = shutil.which(name, path="/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
    if path is None:
        raise ImageError(f"{name} is not on this machine, and tools in the job's image call it: install it")
    return Path(path).resolve()


def libraries(linked: Collection[Path]) -> list[Path]:
    """The system's libraries, the loader among them, that these programs and libraries are linked with, as the loader names them."""
    argv = ["ldd", *map(str, linked)]
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=_LDD_SECONDS)
    # It ends with 1 if one of them is static, which needs nothing.
    missing = sorted(set(_UNFOUND.findall(done.stdout)))
    if missing:
        raise ImageError(f"{', '.join(missing)}: linked with, and not on this machine: install what brings it")
    own = {path.name for path in linked}
    found = sorted({Path(path) for path in _LINKED.findall(done.stdout)} - set(linked))
    strange = [str(path) for path in found if path.name not in own and path.parts[1] not in _SYSTEM]
    if strange:
        raise ImageError(f"{', '.join(strange)}: linked with, and not of the system: an image cannot hold it")
    return [path for path in found if path.name not in own]  # what the job root holds is found there


def _merged(path: Path) -> str:
    """A library's place in an image where /lib and /lib64 lead into /usr."""
    place = str(path).lstrip("/")
    return f"usr/{place}" if place.split("/")[0] in _MERGED else place


def _skeleton() -> Iterator[Entry]:
    for name in _MERGED:
        yield Entry(f"usr/{name}")
        yield Entry(name, 0o777, link=f"usr/{name}")
    for name in _MOUNT_POINTS:
        yield Entry(name, 0o1777 if name == "tmp" else 0o755)
    for name, content in ETC.items():
        yield Entry(f"etc/{name}", 0o644, text=content)
    for path in map(Path, CERTIFICATES):
        if path.is_file():
            yield Entry(CERTIFICATES[0].lstrip("/"), 0o644, source=path.resolve())
            return
