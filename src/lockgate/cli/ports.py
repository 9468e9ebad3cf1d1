"""Writes other ports into the settings of a dev deployment, each at its exact place in the file; it must not touch another character."""

from __future__ import annotations

from pathlib import Path

import yaml

from lockgate.cli.bootstrap import Ports

_FIELDS = {
    "gateway.yaml": (
        (("public", "port"), "{0.public}"),
        (("public", "url"), "http://127.0.0.1:{0.public}"),
        (("runners", "port"), "{0.runners}"),
    ),
    "runner.yaml": ((("gateway",), "https://127.0.0.1:{0.runners}"),),
}


def set_ports(home: Path, ports: Ports) -> None:
    """Change public.port, public.url, runners.port and the runner's gateway. Raises OSError, yaml.YAMLError."""
    for name, fields in _FIELDS.items():
        path = home / name
        text = path.read_text("utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        edits = []
        for keys, form in fields:
            node = _find(root, keys)
            if node is not None:
                edits.append((node.start_mark.index, node.end_mark.index, form.format(ports)))
        for start, end, value in sorted(edits, reverse=True):
            text = text[:start] + value + text[end:]
        draft = path.with_name(f".{name}.ports")
        draft.write_text(text, "utf-8")
        draft.chmod(path.stat().st_mode & 0o777)
        draft.replace(path)


def _find(node: yaml.Node | None, keys: tuple[str, ...]) -> yaml.Node | None:
    for key in keys:
        if not isinstance(node, yaml.MappingNode):
            return None
        node = next((value for name, value in node.value if name.value == key), None)
    return node
