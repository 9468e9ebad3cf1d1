"""The provider's own directory: nobody else writes it, one launcher at a time uses it; it must not be trusted unchecked."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from pathlib import Path
from typing import Final

from lockgate.runner.sandbox.port import SandboxUnavailable

_LOCK_SECONDS: Final = 15.0
_RETRY_SECONDS: Final = 0.02


def check_base(base: Path, root: bool) -> None:
    """The directory must be this user's alone to write, and as root reachable by the dropped uids."""
    base.mkdir(mode=0o711 if root else 0o700, parents=True, exist_ok=True)
    for directory in (base, *base.parents) if root else (base,):
        state = directory.stat()
        if root and not state.st_mode & stat.S_IXOTH:
            raise SandboxUnavailable(
                f"{directory} cannot be searched by the sandboxes' uids",
                f"chmod o+x {directory}, or choose another directory",
            )
    state = base.stat()
    if state.st_uid != os.geteuid() or state.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise SandboxUnavailable(
            f"{base} can be written by others", f"chown it to the runner's user and chmod go-w {base}"
        )


def lock_base(base: Path) -> int:
    """One launcher per directory; waits a little for a dying one. The descriptor holds the lock."""
    descriptor = os.open(base / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise SandboxUnavailable(
                    f"another runner uses {base}", "stop it or give this one its own directory"
                ) from None
            time.sleep(_RETRY_SECONDS)
