"""The first gateway.yaml and runner.yaml of a deployment; it must not hold a secret: settings name files only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from lockgate.cli.bootstrap.layout import Layout, Names, Ports, Samples

_GATEWAY_HEAD = (
    "# The gateway's settings; paths are below this file's directory. Made once by `lockgate init`, and yours since.\n"
)
_RUNNER_HEAD = """# The runner's own mind: what it serves, at most. No catalog or grant can widen it. Paths are below this file's directory.
# Made once by `lockgate init`, and yours since.
"""


def gateway_yaml(layout: Layout, names: Names, dev: bool, ports: Ports, samples: Samples) -> bytes:
    """The text of gateway.yaml."""
    document: dict[str, Any] = {
        "deployment": names.deployment,
        "dev": dev,
        "home": ".",
        "store": _below(layout, layout.store),
        "catalog": _below(layout, layout.catalog),
        "policy_data": _below(layout, layout.policy_data),
        "public": {"host": "127.0.0.1", "port": ports.public, "url": f"http://127.0.0.1:{ports.public}"},
        "runners": {
            "host": "127.0.0.1",
            "port": ports.runners,
            "certificate": _below(layout, layout.gateway_tls),
            "key": _below(layout, layout.gateway_tls),
            "ca": _below(layout, layout.ca_certificate),
        },
        "keys": {
            "root_public": _below(layout, layout.root_public),
            "keyset": _below(layout, layout.keyset),
            "grant": _below(layout, layout.grant_key),
            "log": _below(layout, layout.log_key),
            "issuer": _below(layout, layout.issuer_key),
        },
        "builtin_human_tokens": dev,
    }
    if not dev:
        del document["keys"]["issuer"]
        document["policy"] = {
            "source": "file",
            "path": _below(layout, layout.policy_bundle),
            "keys": {"release": _below(layout, layout.release_public)},
        }
    return _text(_GATEWAY_HEAD, document, samples.gateway)


def runner_yaml(
    layout: Layout, names: Names, dev: bool, ports: Ports, samples: Samples, roots: Path | None = None
) -> bytes:
    """The text of runner.yaml; it serves no target until one is written into it. `roots`: where job roots are shared."""
    document: dict[str, Any] = {
        "id": names.runner,
        "deployment": names.deployment,
        "tenant": names.tenant,
        "region": names.region,
        "dev": dev,
        "gateway": f"https://127.0.0.1:{ports.runners}",
        "state_dir": _below(layout, layout.runner_state),
        "keys": {
            "root_public": _below(layout, layout.root_public),
            "keyset": _below(layout, layout.keyset),
            "signing": _below(layout, layout.runner_key),
            "region": _below(layout, layout.region_key),
            "certificate": _below(layout, layout.runner_tls),
            "tls_key": _below(layout, layout.runner_tls),
            "ca": _below(layout, layout.ca_certificate),
        },
        "sandbox": {"provider": "bubblewrap", "base_dir": _below(layout, layout.sandbox_base), "floor": "bubblewrap"},
        "sources": {},
        "targets": {},
        "tools": {},
    }
    if roots is not None:
        document["sandbox"]["roots_dir"] = str(roots)
    return _text(_RUNNER_HEAD, document, samples.runner)


def _below(layout: Layout, path: Path) -> str:
    return str(path.relative_to(layout.home)) if path.is_relative_to(layout.home) else str(path)


def _text(head: str, document: dict[str, Any], sections: Mapping[str, Any]) -> bytes:
    merged = document | {name: _section(document.get(name), given) for name, given in sections.items()}
    return (head + yaml.safe_dump(merged, sort_keys=False, allow_unicode=True, width=120)).encode()


def _section(made: Any, given: Any) -> Any:
    """A given section over a made one: object by object, else in its place."""
    return made | dict(given) if isinstance(made, dict) and isinstance(given, Mapping) else given
