"""A small client of a Kubernetes API by a kubeconfig, for the tests' own looks: independent of the product's client, so that one may judge the other."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import ssl
import tempfile
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tests.cluster.place import ClusterError

ANSWER_SECONDS = 30.0


class Refused(Exception):
    """The API server refused: `status` is its HTTP status, the message its own."""

    def __init__(self, status: int, told: dict[str, Any]) -> None:
        super().__init__(f"{status} {told.get('reason', '')}: {told.get('message', told)}")
        self.status = status
        self.reason = str(told.get("reason", ""))
        self.message = str(told.get("message", ""))


@dataclass(frozen=True)
class Access:
    """The current context of a kubeconfig: where the API is, by whom it is signed, and who asks."""

    server: str
    authority: bytes
    certificate: bytes
    key: bytes
    token: str

    @classmethod
    def read(cls, path: Path) -> Access:
        """Read a kubeconfig that names its user by certificate or token; raises ClusterError naming what is missing."""
        raw = yaml.safe_load(path.read_text())
        context = _named(raw, "contexts", str(raw.get("current-context", "")), path)["context"]
        cluster = _named(raw, "clusters", context["cluster"], path)["cluster"]
        user = _named(raw, "users", context["user"], path)["user"]
        token = str(user.get("token", ""))
        if "tokenFile" in user:
            token = Path(user["tokenFile"]).read_text().strip()
        certificate = _data(user, "client-certificate", path)
        if not token and not certificate:
            raise ClusterError(
                f"{path}: the user has neither a client certificate nor a token; other ways are not read"
            )
        authority, key = _data(cluster, "certificate-authority", path), _data(user, "client-key", path)
        return cls(str(cluster["server"]).rstrip("/"), authority, certificate, key, token)

    def context(self) -> ssl.SSLContext:
        """TLS that trusts this cluster's authority alone, and shows the user's certificate."""
        context = ssl.create_default_context(cadata=self.authority.decode() or None)
        if self.certificate:
            descriptor, name = tempfile.mkstemp()
            try:
                with os.fdopen(descriptor, "wb") as pair:
                    pair.write(self.certificate + b"\n" + self.key)
                context.load_cert_chain(name)
            finally:
                Path(name).unlink()
        return context


def _named(raw: dict[str, Any], kind: str, name: str, path: Path) -> dict[str, Any]:
    for each in raw.get(kind) or ():
        if each.get("name") == name:
            return dict(each)
    raise ClusterError(f"{path}: {kind} has no entry named {name!r}")


def _data(entry: dict[str, Any], field: str, path: Path) -> bytes:
    """A field's content, from the file itself or from the one it names."""
    if f"{field}-data" in entry:
        return base64.b64decode(entry[f"{field}-data"])
    return (path.parent / entry[field]).read_bytes() if field in entry else b""


class Api:
    """One user's requests to the API; a connection for each, so that a killed API server leaves nothing behind."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._context = access.context()
        self._base = urllib.parse.urlsplit(access.server)

    @contextlib.contextmanager
    def _connected(self) -> Iterator[http.client.HTTPSConnection]:
        assert self._base.hostname is not None
        connection = http.client.HTTPSConnection(
            self._base.hostname, self._base.port or 443, timeout=ANSWER_SECONDS, context=self._context
        )
        try:
            yield connection
        finally:
            connection.close()

    def text(self, path: str) -> str:
        """The body of a GET, whatever it is; raises OSError, HTTPException, Refused."""
        return self._ask("GET", path, None, {}).decode()

    def ask(self, method: str, path: str, body: Any = None, *, kind: str = "application/json") -> dict[str, Any]:
        """The JSON that a request is answered with; raises OSError, HTTPException, Refused."""
        content = None if body is None else json.dumps(body).encode()
        answer: dict[str, Any] = json.loads(self._ask(method, path, content, {"Content-Type": kind}))
        return answer

    def _ask(self, method: str, path: str, content: bytes | None, headers: dict[str, str]) -> bytes:
        if self._access.token:
            headers = {**headers, "Authorization": f"Bearer {self._access.token}"}
        with self._connected() as connection:
            connection.request(method, self._base.path + path, content, headers)
            answer = connection.getresponse()
            told = answer.read()
        if answer.status >= 300:
            try:
                raise Refused(answer.status, json.loads(told))
            except ValueError:
                raise Refused(answer.status, {"message": told.decode(errors="replace")}) from None
        return told
