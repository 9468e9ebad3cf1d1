"""What `init`, `dev` and `demo` start with: a small catalog, policy data and two sources, as package data. It must not touch a target."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from lockgate.cli.bootstrap import Samples

PARTS = ("catalog", "policy", "sources")
TARGET_GID = 699_999
"""As root: the group through which sandboxes reach sample targets; just below the uids that belong to sandboxes."""

SHOWN_AT = "/target"
"""Where a sandbox shows the directory of its sample target."""

TARGETS = {
    "motd-staging": ("ansible", "motd"),
    "motd-production": ("ansible", "motd"),
    "service-staging": ("runbook", "service"),
}
"""Target → driver, source: as in catalog/targets.yaml."""


@dataclass(frozen=True, slots=True)
class Wish:
    """`place`: the directory of the sample targets, which only dev has. `no_sandbox`: run jobs without one."""

    place: Path | None = None
    no_sandbox: bool = False


def samples(wish: Wish) -> Samples:
    """Sample files below home, and the sections of runner.yaml and gateway.yaml that fit them."""
    root = files(__name__)
    found = {name: data for part in PARTS for name, data in _walk(root / part, part)}
    runner: dict[str, Any] = {"sources": {"motd": "sources/motd", "service": "sources/service"}}
    gateway: dict[str, Any] = {}
    if wish.place is not None:
        runner["targets"] = {name: _target(wish, name, *of) for name, of in TARGETS.items()}
        runner["tools"] = {"ansible": {"any": True}}
    if wish.no_sandbox:
        runner["sandbox"] = {"provider": "unsafe-no-sandbox", "floor": "process"}
        gateway["unsafe"] = {"no_sandbox": True}
        found["policy/data.yaml"] = found["policy/data.yaml"].replace(b"sandbox: bubblewrap", b"sandbox: process")
        if wish.place is not None:
            found["catalog/targets.yaml"] = _on_this_host(found["catalog/targets.yaml"], wish.place)
    return Samples(files=found, runner=runner, gateway=gateway)


def make_targets(place: Path) -> None:
    """The directories that the sample targets are; a sandbox reaches them through its own uid or, under root, through TARGET_GID."""
    root = os.geteuid() == 0
    place.mkdir(mode=0o711, parents=True, exist_ok=True)
    for name in TARGETS:
        path = place / name
        if path.is_dir():
            continue
        path.mkdir(mode=0o700)
        if root:
            os.chown(path, 0, TARGET_GID)
            path.chmod(0o2770)


def _on_this_host(catalog: bytes, place: Path) -> bytes:
    """Without a sandbox nothing is mounted at /target: the settings of each sample target name its directory on this host."""
    documents = catalog.decode().split("\n---\n")
    for name in TARGETS:
        quoted = json.dumps(str(place / name), ensure_ascii=False)
        documents = [text.replace(SHOWN_AT, quoted) if f"name: {name}\n" in text else text for text in documents]
    return "\n---\n".join(documents).encode()


def _target(wish: Wish, name: str, driver: str, source: str) -> dict[str, Any]:
    path = str(wish.place / name) if wish.place is not None else ""
    shared: dict[str, Any] = {"path": path, "target": path if wish.no_sandbox else SHOWN_AT, "mode": "write"}
    if os.geteuid() == 0:
        shared["gid"] = TARGET_GID
    return {"drivers": [driver], "sources": [source], "paths": [shared], "credential_scopes": ["read", "write"]}


def _walk(place: Traversable, name: str) -> list[tuple[str, bytes]]:
    if place.is_file():
        return [(name, place.read_bytes())]
    found = []
    for item in sorted(place.iterdir(), key=lambda item: item.name):
        if not item.name.startswith(("__", ".")):
            found += _walk(item, f"{name}/{item.name}")
    return found
