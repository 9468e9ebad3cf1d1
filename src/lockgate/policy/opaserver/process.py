"""How an OPA that serves decisions is started: what it listens on, whom it lets ask, what it loads. It starts nothing itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from lockgate.keys.tls import TlsFiles
from lockgate.policy.opaserver.endpoint import Endpoint

SERVER_ENVIRONMENT: Final[Mapping[str, str]] = MappingProxyType({"GOGC": "1600", "GOMEMLIMIT": "1GiB"})
"""The whole environment of an OPA that serves decisions. What it makes for one is rubbish after it, and little else lives: Go's collector, left to itself,
runs within most decisions about a plan. It waits for seventeen times what lives instead, half a gigabyte with the whole library on, and for less as memory nears the limit (ADR 34)."""


def server_arguments(endpoint: Endpoint, bundle: Path, files: TlsFiles | None = None) -> list[str]:
    """The arguments of `opa` that serve the bundle file or folder `bundle`, and take it up again when it changes.

    `files` are OPA's own certificate and key and the CA of its callers; a Unix socket needs none: only its owner may open it. `bundle` lies in
    a folder of its own, since OPA watches that. The store is the one for reading: policy data is not made anew from JSON for each decision.
    """
    arguments = ["run", "--server", "--bundle", str(bundle), "--watch", "--authorization=basic"]
    if endpoint.socket is not None:
        arguments += ["--addr", f"unix://{endpoint.socket}", "--unix-socket-perm=600"]
    elif files is not None:
        arguments += ["--addr", f"https://{endpoint.authority}", "--authentication=tls", "--min-tls-version=1.3"]
        arguments += ["--tls-cert-file", str(files.certificate), "--tls-private-key-file", str(files.key)]
        arguments += ["--tls-ca-cert-file", str(files.ca)]
    return [
        *arguments,
        "--optimize-store-for-read-speed",
        "--log-level=info",
        "--log-level-request=debug",
        "--skip-version-check",
        "--shutdown-grace-period=1",
    ]
