"""Which installation of a runner this is: a random name made once, beside its journal. Two processes that were given one name are told apart by it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from lockgate.keys.privatefile import KeyFileError, read_private, write_private

FILE: Final = "installation"
_NAME: Final = re.compile(r"[0-9a-f]{32}")


def installation(state_dir: Path, random: Callable[[int], bytes], *, dev: bool) -> str:
    """32 hex characters, the same as long as the journal beside it is kept. `random`: n random bytes. Raises KeyFileError, OSError."""
    path = state_dir / FILE
    if not path.exists():
        with contextlib.suppress(
            KeyFileError
        ):  # another process of this directory was faster; the journal decides which of both goes on
            write_private(path, random(16).hex().encode())
    found = read_private(path, dev=dev).decode("ascii", "replace")
    if not _NAME.fullmatch(found):
        raise KeyFileError(path, "must hold 32 hexadecimal characters; remove it, and a new one is made")
    return found
