"""Reads folders of somebody's own Rego: which packages and rules they hold, in which syntax; it changes nothing and evaluates nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lockgate.policy.brought import RESERVED_ROOTS
from lockgate.policy.imports import is_test, require_own_names
from lockgate.policy.port import PolicyLoadError
from lockgate.policy.syntax import Rule, RulePath, Syntax, read_syntax

MAX_FILES: Final = 1_000
MAX_FILE_BYTES: Final = 1 << 20
DATA_FILES: Final = frozenset({"data.json", "data.yaml", "data.yml"})
"""As in OPA's bundles: their place in the folder is their place in `data`. Other JSON and YAML is not read."""

PREFIX: Final = "own"
"""Below which modules of one's own lie in a bundle; the library's lie elsewhere."""

_NAME: Final = re.compile(r"[A-Za-z0-9_.+@-]+")


@dataclass(frozen=True, slots=True)
class OwnFile:
    """One module: `place` in a bundle, `file` as the author knows it, its text as it is, and what it defines."""

    place: str
    file: str
    text: str
    syntax: Syntax

    @property
    def rego_version(self) -> int:
        return self.syntax.rego_version

    @property
    def rules(self) -> Mapping[RulePath, Rule]:
        return self.syntax.rules

    @property
    def is_test(self) -> bool:
        return is_test(self.place)


@dataclass(frozen=True, slots=True)
class OwnPolicy:
    """Everything in some folders. `data` is the path of a data file in its folder → its text."""

    files: tuple[OwnFile, ...] = ()
    data: Mapping[str, str] = field(default_factory=dict)

    @property
    def roots(self) -> tuple[str, ...]:
        """The first part of every package: the parts of `data` that are the author's."""
        return tuple(sorted({file.syntax.package[0] for file in self.files}))

    def rule(self, path: RulePath) -> Rule | None:
        """The rule of exactly this path, if a module that is no test defines it."""
        return next((file.rules[path] for file in self.files if not file.is_test and path in file.rules), None)

    def named(self, text: str) -> str:
        """What `opa` said, with the author's file names for the places in a bundle."""
        for file in sorted(self.files, key=lambda file: len(file.place), reverse=True):
            text = text.replace(file.place, file.file)
        return text


def read_own(folders: Sequence[Path], opa: Path) -> OwnPolicy:
    """The Rego of these folders, tests too. Raises PolicyLoadError with file and line, OpaFailed."""
    files: list[OwnFile] = []
    data: dict[str, str] = {}
    taken: set[str] = set()
    for folder in folders:
        top = _top(folder, taken)
        for path in rego_and_data(folder):
            inside = path.relative_to(folder)
            if path.name in DATA_FILES:
                _keep_data(data, inside, path)
            else:
                files.append(_module(f"{PREFIX}/{top}/{inside.as_posix()}", path, opa))
            if len(files) > MAX_FILES:
                raise PolicyLoadError(str(folder), f"holds more than {MAX_FILES} modules")
    if folders and not files:
        raise PolicyLoadError(str(folders[0]), "holds no Rego: there is no *.rego file in it")
    require_own_names({file.file: file.syntax for file in files})
    return OwnPolicy(tuple(files), data)


def _top(folder: Path, taken: set[str]) -> str:
    if not folder.is_dir():
        raise PolicyLoadError(str(folder), "is no folder" if folder.exists() else "does not exist")
    name = re.sub(r"[^A-Za-z0-9_-]", "-", folder.resolve().name) or PREFIX
    number = 1
    while (top := name if number == 1 else f"{name}-{number}") in taken:
        number += 1
    taken.add(top)
    return top


def rego_and_data(folder: Path) -> Iterator[Path]:
    """Its modules and data, in an order that does not depend on the disk; nothing hidden, nothing behind a link to a folder."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if (name.endswith(".rego") or name in DATA_FILES) and not name.startswith("."):
                yield Path(place) / name


def _keep_data(data: dict[str, str], inside: Path, path: Path) -> None:
    place = inside.as_posix()
    if place in data:
        raise PolicyLoadError(str(path), "stands in the same place of `data` as a file of another folder")
    if inside.parts[0] in RESERVED_ROOTS:
        raise PolicyLoadError(
            str(path), f"would be data of `{inside.parts[0]}`, which is not yours: name the folder differently"
        )
    data[place] = _text(path)


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PolicyLoadError(str(path), f"cannot be read: {error.strerror}") from None
    if len(content) > MAX_FILE_BYTES:
        raise PolicyLoadError(str(path), f"is larger than {MAX_FILE_BYTES} bytes")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PolicyLoadError(str(path), f"is not UTF-8 at byte {error.start}") from None


def _module(place: str, path: Path, opa: Path) -> OwnFile:
    if not all(_NAME.fullmatch(part) for part in place.split("/")):
        raise PolicyLoadError(
            str(path), "has a name that no bundle can hold: rename it to letters, digits and any of . _ + @ -"
        )
    text = _text(path)
    syntax = read_syntax(path, opa)
    if syntax.package[0] in RESERVED_ROOTS:
        problem = f"the package is `{'.'.join(syntax.package)}`: `{syntax.package[0]}` is not yours; a rule of your own lies in a package of your own"
        raise PolicyLoadError(str(path), problem, line=syntax.package_line)
    return OwnFile(place, str(path), text, syntax)
