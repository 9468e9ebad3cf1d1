"""Becomes another program that ends with whoever started it, however that one ends. It must not stay between them, nor hand its environment on.

A process that is killed cannot end its children. On Linux the kernel does: it keeps what is asked for here across exec. Elsewhere nothing does.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from lockgate.runner.sandbox import linux

ORPHANED = 125
"""The exit code where the parent was gone before anything was started."""


def bound(program: Path, arguments: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """The command that runs `program` with these arguments, this environment alone, and an end with this process. Start it from a thread that stays."""
    given = [f"{name}={value}" for name, value in environment.items()]
    place = os.path.abspath(program)  # noqa: PTH100  (no link is followed)
    # -P: else the folder that somebody stands in comes first among those that modules are looked for in.
    return [sys.executable, "-P", "-m", "lockgate.cli.bound", str(os.getpid()), *given, "--", place, *arguments]


def main(arguments: Sequence[str]) -> NoReturn:
    """`python -m lockgate.cli.bound PARENT [NAME=VALUE]… -- PROGRAM …`: ORPHANED where PARENT has ended already. Raises OSError."""
    end = arguments.index("--")
    parent, given, command = int(arguments[0]), arguments[1:end], list(arguments[end + 1 :])
    if sys.platform == "linux":
        linux.die_with_parent(signal.SIGKILL)
    # Asked for after the parent's end, nothing would come of it: the new parent is another one.
    if os.getppid() != parent:
        sys.exit(ORPHANED)
    environment = dict(item.split("=", 1) for item in given)
    os.execve(command[0], command, environment)  # noqa: S606  (never by a shell)


if __name__ == "__main__":
    main(sys.argv[1:])
