"""The node under the standing cluster: what runs on it, and deaths of its parts for fault tests; it must not ask the API server, whose word is being tested."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster import lifecycle, machine, processes
from tests.cluster.place import Place

LIST_SECONDS = 60


@dataclass(frozen=True)
class Node:
    """Parts are named as in `tests.cluster.parts.STARTS`: containerd, etcd, kube-apiserver, netpol, kube-controller-manager, kube-scheduler, kubelet."""

    place: Place
    kubernetes: Path

    def kill(self, part: str) -> None:
        """End a part as a crash would."""
        processes.kill(self.place, part)

    def stop(self, part: str) -> None:
        """End a part in order."""
        processes.stop(self.place, part)

    def start(self, part: str) -> None:
        """Start a part that does not run."""
        lifecycle.start_part(self.place, part)

    def runs(self, part: str) -> bool:
        """Whether a part runs."""
        return processes.recorded(self.place, part) is not None

    def mend(self) -> None:
        """Start what does not run, in order, and return when all of it answers."""
        lifecycle.mend(self.place)

    def sandboxes(self, namespace: str | None = None) -> list[dict[str, Any]]:
        """Every pod the container runtime still holds something of, of one namespace or all, with its containers."""
        endpoint = f"--endpoint=unix://{self.place.containerd_socket}"
        argv = [str(self.kubernetes), "sandboxes", endpoint, "list"]
        done = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=LIST_SECONDS)
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return [each for each in found if namespace in (None, each["namespace"])]

    def pod_processes(self, uid: str) -> set[int]:
        """The processes in a pod's control groups, whatever the API and the runtime say."""
        found: set[int] = set()
        for group in machine.cgroups(self.place):
            if any(part.startswith(f"pod{uid}") for part in group.parts):
                try:
                    found.update(int(line) for line in (group / "cgroup.procs").read_text().split())
                except OSError:
                    continue  # it went while we looked
        return found

    def pod_cgroups(self, uid: str) -> set[Path]:
        """A pod's own control groups."""
        return {group for group in machine.cgroups(self.place) if group.name.startswith(f"pod{uid}")}
