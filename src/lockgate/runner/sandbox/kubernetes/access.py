"""How the API server is reached: from a kubeconfig or as a pod of the cluster. It must not run a program of a kubeconfig's, nor skip a check of TLS."""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import yaml

from lockgate.runner.sandbox.port import SandboxUnavailable

ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TOKEN_SECONDS: Final = 60.0
"""How long a token's file is believed to be unchanged; the kubelet renews it long before it ends."""
_MAX_FILE: Final = 1 << 20
_FIX: Final = "see sandbox.kubernetes in the reference of settings"


class Token:
    """A bearer token in a file that others renew. ``clock`` in seconds."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._value = ""
        self._until = 0.0

    def value(self, *, anew: bool = False) -> str:
        """The token of now; ``anew`` after the server refused the last one. Raises SandboxUnavailable."""
        if anew or self._clock() >= self._until:
            self._value = _read(self._path).decode("ascii", "replace").strip()
            if not self._value or not self._value.isprintable() or " " in self._value:
                raise SandboxUnavailable(f"{self._path} holds no token", _FIX)
            self._until = self._clock() + TOKEN_SECONDS
        return self._value


@dataclass(frozen=True)
class Access:
    """``server``: ``https://host:port``. ``token`` is None where a client certificate says who we are."""

    server: str
    context: ssl.SSLContext
    token: Token | None = field(default=None, repr=False)

    @property
    def address(self) -> str:
        """host:port, as a job must not reach it."""
        parts = urlsplit(self.server)
        return f"{parts.hostname}:{parts.port or 443}"


def open_access(kubeconfig: Path | None, environment: Mapping[str, str] = os.environ) -> Access:
    """From a kubeconfig's current context, or as a pod. Raises SandboxUnavailable naming what is wrong."""
    return _in_cluster(environment) if kubeconfig is None else _from_kubeconfig(kubeconfig)


def _in_cluster(environment: Mapping[str, str], account: Path = ACCOUNT) -> Access:
    host, port = environment.get("KUBERNETES_SERVICE_HOST"), environment.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise SandboxUnavailable(
            "no kubeconfig is named, and this runner is no pod of a cluster",
            "set sandbox.kubernetes.kubeconfig, or run the runner in the cluster",
        )
    context = _context(_read(account / "ca.crt"), "the service account's ca.crt")
    return Access(f"https://{f'[{host}]' if ':' in host else host}:{port}", context, Token(account / "token"))


def _from_kubeconfig(path: Path) -> Access:
    try:
        document = yaml.safe_load(_read(path))
    except yaml.YAMLError as error:
        raise SandboxUnavailable(f"{path} is no YAML: {str(error)[:200]}", _FIX) from None
    chosen = _entry(path, document, "contexts", _text(path, document, "current-context"), "context")
    cluster = _entry(path, document, "clusters", _text(path, chosen, "cluster"), "cluster")
    user = _entry(path, document, "users", _text(path, chosen, "user"), "user")
    server = _text(path, cluster, "server")
    if not server.startswith("https://"):
        raise SandboxUnavailable(f"{path}: server {server[:100]!r} is not https", _FIX)
    if cluster.get("insecure-skip-tls-verify"):
        raise SandboxUnavailable(f"{path}: insecure-skip-tls-verify is set", "name the cluster's certificate authority")
    for name in ("exec", "auth-provider", "username"):
        if name in user:
            raise SandboxUnavailable(
                f"{path}: the user signs in by `{name}`, which this runner does not do",
                "give the runner a service account's token file (tokenFile) or a client certificate",
            )
    authority = _data(path, cluster, "certificate-authority")
    if authority is None:
        raise SandboxUnavailable(f"{path}: the cluster has no certificate-authority", _FIX)
    context = _context(authority, f"{path}: certificate-authority")
    certificate, key = _data(path, user, "client-certificate"), _data(path, user, "client-key")
    if certificate is not None and key is not None:
        _load_certificate(context, certificate, key, path)
        return Access(server, context)
    if "tokenFile" in user:
        return Access(server, context, Token(path.parent / _text(path, user, "tokenFile")))
    raise SandboxUnavailable(
        f"{path}: the user has neither a client certificate with key nor a tokenFile",
        "give it one; a token in the kubeconfig itself cannot be renewed, and is not taken",
    )


def _entry(path: Path, document: Any, kind: str, name: str, inner: str) -> Mapping[str, Any]:
    entries = document.get(kind) if isinstance(document, dict) else None
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and entry.get("name") == name and isinstance(entry.get(inner), dict):
            found: Mapping[str, Any] = entry[inner]
            return found
    raise SandboxUnavailable(f"{path}: {kind} has no {name[:100]!r}", _FIX)


def _text(path: Path, document: Any, name: str) -> str:
    value = document.get(name) if isinstance(document, dict | Mapping) else None
    if not isinstance(value, str) or not value:
        raise SandboxUnavailable(f"{path}: {name} is missing", _FIX)
    return value


def _data(path: Path, document: Mapping[str, Any], name: str) -> bytes | None:
    """Content of ``name-data`` (base64), else of the file ``name``, below the kubeconfig's own directory."""
    if f"{name}-data" in document:
        try:
            return base64.b64decode(_text(path, document, f"{name}-data"), validate=True)
        except binascii.Error:
            raise SandboxUnavailable(f"{path}: {name}-data is no base64", _FIX) from None
    return _read(path.parent / _text(path, document, name)) if name in document else None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise SandboxUnavailable(f"{path} cannot be read: {error.strerror}", _FIX) from None
    if len(content) > _MAX_FILE:
        raise SandboxUnavailable(f"{path} is larger than {_MAX_FILE} bytes", _FIX)
    return content


def _context(authority: bytes, what: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(cadata=authority.decode("ascii"))
    except (ssl.SSLError, ValueError):
        raise SandboxUnavailable(f"{what} holds no certificate in PEM", _FIX) from None
    return context


def _load_certificate(context: ssl.SSLContext, certificate: bytes, key: bytes, path: Path) -> None:
    """By way of memory: the `ssl` module reads files only, and a key must not come to lie on a disk."""
    try:
        with _in_memory(certificate) as certificate_file, _in_memory(key) as key_file:
            context.load_cert_chain(certificate_file, key_file)
    except ssl.SSLError as error:
        raise SandboxUnavailable(f"{path}: client-certificate and client-key: {error.reason}", _FIX) from None


@contextlib.contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    descriptor = os.memfd_create("kubeconfig", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        yield f"/proc/self/fd/{descriptor}"
