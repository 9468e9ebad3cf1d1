"""The run directory: a marker per live sandbox, so that a later launcher can end what a dead one left; never job data or secrets."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from lockgate.runner.sandbox.cgroups import Version

_MARKER: Final = "marker.json"
_DRAFT: Final = ".marker.json"


@dataclass
class Marker:
    """What is needed to find everything of one sandbox again. ``boot`` is the boot id: after a reboot nothing but files is left."""

    sandbox_id: str
    boot: str
    uid: int | None
    init_pid: int = 0
    init_started: int = 0
    cgroup_version: Version | None = None
    cgroups: dict[str, str] = field(default_factory=dict)


def boot_id() -> str:
    """The kernel's random id of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


class RunDirectory:
    """All markers below ``base``/runs; the directory is the launcher's own."""

    def __init__(self, base: Path) -> None:
        self.root = base / "runs"
        self.root.mkdir(mode=0o700, exist_ok=True)
        # Apart from the markers: a sandbox's uid must pass through to its own socket, and may list nobody's.
        self._sockets = base / "egress"
        self._sockets.mkdir(mode=0o711, exist_ok=True)

    def ids(self) -> list[str]:
        """Every sandbox that has a directory."""
        return sorted(entry.name for entry in self.root.iterdir())

    def path(self, sandbox_id: str) -> Path:
        """The directory of one sandbox, there or not."""
        return self.root / sandbox_id

    def socket(self, sandbox_id: str) -> Path:
        """Where the egress proxy of one sandbox listens, if it has one."""
        return self._sockets / f"{sandbox_id}.sock"

    def remove_socket(self, sandbox_id: str) -> bool:
        """Remove the socket's name; True when it is gone."""
        place = self.socket(sandbox_id)
        place.unlink(missing_ok=True)
        return not os.path.lexists(place)

    def write(self, marker: Marker) -> None:
        """Create or replace a marker in one step; raises OSError."""
        place = self.path(marker.sandbox_id)
        place.mkdir(mode=0o700, exist_ok=True)
        draft = place / _DRAFT
        draft.write_text(json.dumps(asdict(marker)))
        draft.replace(place / _MARKER)

    def read(self, sandbox_id: str) -> Marker | None:
        """The marker, or None when there is none that can be read."""
        try:
            return Marker(**json.loads((self.path(sandbox_id) / _MARKER).read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def remove(self, sandbox_id: str) -> bool:
        """Remove the directory and all in it without following links; True when it is gone."""
        place = self.path(sandbox_id)
        if os.path.lexists(place):
            shutil.rmtree(place, ignore_errors=True)
        return not os.path.lexists(place)
