"""Runs the `opa` program for checking, testing and compiling policies; it is never asked to decide."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

RUN_SECONDS = 300
TESTED = "1.22.2"
"""The version of `opa` that the library is compiled and tested with."""


class OpaMissing(Exception):
    """There is no `opa` program. Get one, and put it on PATH or name it in LOCKGATE_OPA."""

    def __init__(self) -> None:
        super().__init__(
            f"this needs the `opa` program, and none was found. Get version {TESTED} from www.openpolicyagent.org or by "
            f"`go install github.com/open-policy-agent/opa@v{TESTED}` (in this work tree: `tools/get opa`), "
            "and put it on PATH or name it in LOCKGATE_OPA"
        )


class OpaFailed(Exception):
    """`opa` refused: its own message, which names file and line, follows."""


def find_opa(environ: Mapping[str, str] = os.environ) -> Path:
    """The program LOCKGATE_OPA names, else the one on PATH. Raises OpaMissing."""
    if named := environ.get("LOCKGATE_OPA"):
        if os.access(named, os.X_OK):
            return Path(named)
        raise OpaMissing
    found = shutil.which("opa", path=environ.get("PATH"))
    if found is None:
        raise OpaMissing
    return Path(found)


def run_opa(opa: Path, arguments: Sequence[str], *, folder: Path | None = None, accept: Sequence[int] = (0,)) -> str:
    """Run `opa` in `folder`; its standard output, if it ended with one of the codes `accept`. Raises OpaFailed, with what it said."""
    try:
        done = subprocess.run(
            [str(opa.absolute()), *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            check=False,
            env={},
        )
    except subprocess.TimeoutExpired:
        raise OpaFailed(f"opa {arguments[0]} did not end within {RUN_SECONDS} s") from None
    except OSError as error:
        raise OpaFailed(f"{opa} cannot be run: {error.strerror}") from error
    if done.returncode not in accept:
        raise OpaFailed("\n".join(part for part in (done.stdout.strip(), done.stderr.strip()) if part))
    return done.stdout
