"""The job root: an interpreter and exactly the code a job may import, readable by every uid; never a whole virtual environment.

Content-addressed below ``base``/roots: built once in a draft directory and renamed into place, so that it may be asked for by
several runners at once. Bytecode is compiled here from the sources that the digest covers, never copied from a cache.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

INSIDE: Final = "/lockgate"
FORMAT: Final = "job-root-1"
JOB_PACKAGES: Final = (
    "lockgate/__init__.py",
    "lockgate/contract",
    "lockgate/job",
    "lockgate/wire/__init__.py",
    "lockgate/wire/chunks.py",
    "lockgate/wire/frames.py",
)
"""What of Lockgate a job may import, as paths below the directory that holds the package."""

LIBRARY_DISTRIBUTIONS: Final = ("cryptography", "cffi")
TOOL_DISTRIBUTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "ansible": (
        "ansible-core",
        "jinja2",
        "markupsafe",
        "pyyaml",
        "packaging",
        "resolvelib",
        "cryptography",
        "cffi",
    ),
}
_STDLIB_LEFT_OUT: Final = frozenset(
    {"test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "site-packages", "dist-packages"}
)
_LEFT_OUT: Final = frozenset({"__pycache__", "RECORD", "direct_url.json", "INSTALLER", "REQUESTED"})
_MODULES_LEFT_OUT: Final = ("_tkinter.", "_test", "_ctypes_test.", "_xxtestfuzz.", "xxlimited")
"""Compiled modules for windows and for the interpreter's own tests; the first alone would bring a window system's libraries into an image."""

_COMPILE_SECONDS: Final = 600
_LINE: Final = f"python{sys.version_info.major}.{sys.version_info.minor}"


class JobRootError(RuntimeError):
    """The job root cannot be built; the message names what is missing and how to get it."""


@dataclass(frozen=True)
class JobRoot:
    """A built root: host ``path``, its digest, and per tool the digest of exactly that tool's files."""

    path: Path
    digest: str
    tool_digests: Mapping[str, str]

    def argv(self, entry: str = "lockgate.job.__main__:main") -> tuple[str, ...]:
        """How to start ``module:function`` inside, where this root is mounted at INSIDE; few imports, no site, no cache writes."""
        module, _, function = entry.partition(":")
        code = f"import sys; sys.path.append('{INSIDE}/lib'); from {module} import {function} as run; sys.exit(run())"
        return (*self.interpreter(), "-c", code)

    def interpreter(self) -> tuple[str, ...]:
        """The interpreter inside with the flags a job starts with."""
        return (f"{INSIDE}/python/bin/python3", "-I", "-S", "-B", "-X", "utf8")

    def environment(self) -> dict[str, str]:
        """What the interpreter needs in its environment."""
        return {"LD_LIBRARY_PATH": f"{INSIDE}/python/lib"}

    def tool_path(self, tool: str) -> str:
        """The directory inside that holds ``tool``'s packages; raises KeyError for a tool that is not in this root."""
        return f"{INSIDE}/tools/{tool}" if self.tool_digests[tool] else ""


@dataclass(frozen=True)
class _File:
    """One file to copy: its place in the root, where it comes from, whether it is a program."""

    place: str
    source: Path

    @property
    def mode(self) -> int:
        return 0o755 if self.source.stat().st_mode & 0o100 else 0o644


def build_job_root(base: Path, *, tools: Collection[str] = (), packages: Collection[str] = JOB_PACKAGES) -> JobRoot:
    """The root for ``tools`` and ``packages`` below ``base``, built if it is not there; raises JobRootError, OSError."""
    parts = _parts(tools, packages)
    digests = {part: _digest(found) for part, found in parts.items()}
    tool_digests = {tool: digests[f"tools/{tool}"] for tool in sorted(tools)}
    digest = _root_digest(digests)
    final = base / "roots" / digest
    if not final.is_dir():
        _build(final, [file for found in parts.values() for file in found])
    return JobRoot(final, digest, tool_digests)


def job_root_digest(*, tools: Collection[str] = (), packages: Collection[str] = JOB_PACKAGES) -> str:
    """The digest that a root for ``tools`` and ``packages`` has, or would have; raises JobRootError, OSError."""
    return _root_digest({part: _digest(found) for part, found in _parts(tools, packages).items()})


def _root_digest(digests: Mapping[str, str]) -> str:
    return hashlib.sha256(repr((FORMAT, sys.version, sorted(digests.items()))).encode()).hexdigest()


def _parts(tools: Collection[str], packages: Collection[str]) -> dict[str, list[_File]]:
    """By part of the root, every file of it."""
    unknown = sorted(set(tools) - set(TOOL_DISTRIBUTIONS))
    if unknown:
        raise JobRootError(
            f"tools {', '.join(unknown)}: no such tool for a job root; known: {', '.join(TOOL_DISTRIBUTIONS)}"
        )
    files = {
        "python": [*_interpreter(), *_stdlib()],
        "lib": [*_package(packages), *_distributions("lib", LIBRARY_DISTRIBUTIONS)],
    }
    for tool in sorted(tools):
        files[f"tools/{tool}"] = list(_distributions(f"tools/{tool}", TOOL_DISTRIBUTIONS[tool]))
    return files


def _build(final: Path, files: list[_File]) -> None:
    final.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=final.parent))
    try:
        for file in files:
            place = draft / file.place
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file.source, place)
            place.chmod(file.mode)
        (draft / "python/bin/python3").symlink_to(_LINE)
        _compile(draft)
        for directory, _, _ in os.walk(draft):
            Path(directory).chmod(0o755)  # the sandboxes' uids read it; nobody but this user writes it
        draft.rename(final)
    except OSError:
        if not final.is_dir():  # else another builder was faster, with the same content
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _compile(root: Path) -> None:
    """Bytecode that is never checked against its source again. In a program of its own: this process may hold keys, or threads.

    Sources that do not compile (templates, deliberately broken samples) stay as they are, so the exit code says nothing.
    """
    flags = ("-q", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash", "-s", str(root), "-p", INSIDE)
    command = [sys.executable, "-I", "-S", "-m", "compileall", *flags, str(root)]
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=_COMPILE_SECONDS, check=False)


def _digest(files: list[_File]) -> str:
    total = hashlib.sha256()
    for file in sorted(files, key=lambda each: each.place):
        content = hashlib.sha256(file.source.read_bytes()).hexdigest()
        total.update(f"{file.place}\0{file.mode:o}\0{content}\n".encode())
    return total.hexdigest()


def _interpreter() -> Iterator[_File]:
    """The base interpreter, and its shared library where it has one outside the system's directories."""
    program = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    yield _File(f"python/bin/{_LINE}", program)
    name = sysconfig.get_config_var("INSTSONAME")
    if sysconfig.get_config_var("Py_ENABLE_SHARED") and name:
        library = Path(sysconfig.get_config_var("LIBDIR"), name)
        if library.is_file():
            yield _File(f"python/lib/{name}", library)


def _stdlib() -> Iterator[_File]:
    root = Path(sysconfig.get_path("stdlib"))
    if not (root / "os.py").is_file():
        raise JobRootError(f"the standard library is not at {root}; use an interpreter with its library on disk")
    for directory, names, files in os.walk(root):
        names[:] = sorted(name for name in names if name not in _STDLIB_LEFT_OUT and name != "__pycache__")
        if Path(directory) == root:
            names[:] = [name for name in names if not name.startswith("config-")]
        for name in sorted(files):
            source = Path(directory, name)
            if not name.endswith((".pyc", ".a")) and not name.startswith(_MODULES_LEFT_OUT):
                yield _File(f"python/lib/{_LINE}/{source.relative_to(root)}", source)


def _package(packages: Collection[str]) -> Iterator[_File]:
    root = Path(__file__).resolve().parents[3]
    for part in packages:
        start = root / part
        if start.is_file():
            yield _File(f"lib/{part}", start)
        elif not start.is_dir():
            raise JobRootError(f"packages {part}: not part of this installation; reinstall lockgate")
        for directory, names, files in os.walk(start):
            names[:] = sorted(name for name in names if name != "__pycache__")
            for name in sorted(files):
                source = Path(directory, name)
                if not name.endswith(".pyc"):
                    yield _File(f"lib/{source.relative_to(root)}", source)


def _distributions(place: str, names: Collection[str]) -> Iterator[_File]:
    for name in names:
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            raise JobRootError(f"{name} is not installed; pip install 'lockgate[ansible]'") from None
        for path in found.files or ():
            source = Path(str(found.locate_file(path)))
            plain = ".." not in path.parts and not _LEFT_OUT & set(path.parts)
            if plain and source.is_file():
                yield _File(f"{place}/{path}", source)
