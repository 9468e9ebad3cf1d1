"""Writes other addresses into the settings of a dev deployment, each at its exact place in the file; it must not touch another character."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

from lockgate.cli.bootstrap import Ports


def set_ports(home: Path, ports: Ports) -> None:
    """Change public.port, public.url, runners.port and the runner's gateway. Raises OSError, yaml.YAMLError."""
    url = f"http://127.0.0.1:{ports.public}"
    edits: dict[tuple[str, ...], str] = {
        ("public", "port"): str(ports.public),
        ("public", "url"): url,
        ("runners", "port"): str(ports.runners),
    }
    set_values(home / "gateway.yaml", edits)
    set_gateway(home, ports.runners)


def set_gateway(home: Path, port: int) -> None:
    """Change where the runner looks for its gateway."""
    set_values(home / "runner.yaml", {("gateway",): f"https://127.0.0.1:{port}"})


def set_values(path: Path, values: Mapping[tuple[str, ...], str]) -> None:
    """Replace scalars of a YAML file by their keys; one that is not there stays away."""
    text = path.read_text("utf-8")
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    found = [(node, value) for keys, value in values.items() if (node := _find(root, keys)) is not None]
    for node, value in sorted(found, key=lambda item: item[0].start_mark.index, reverse=True):
        text = text[: node.start_mark.index] + value + text[node.end_mark.index :]
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(text, "utf-8")
    draft.chmod(path.stat().st_mode & 0o777)
    draft.replace(path)


def _find(node: yaml.Node | None, keys: tuple[str, ...]) -> yaml.Node | None:
    for key in keys:
        if not isinstance(node, yaml.MappingNode):
            return None
        node = next((value for name, value in node.value if name.value == key), None)
    return node
