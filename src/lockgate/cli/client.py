"""The people's REST client: one call at a time, problem+json turned into problems. It must not retry a call that changes something."""

from __future__ import annotations

import http.client
import json
import os
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from lockgate.cli.exits import Exit
from lockgate.cli.frame import Session
from lockgate.cli.home import HUMAN, URL_VARIABLE, gateway_url, read_token
from lockgate.cli.problem import Problem
from lockgate.contract.shown import flat

API = "/api/v1"
MAX_ANSWER = 32 << 20
CALL_SECONDS = 75.0
_EXITS = {
    400: Exit.USAGE,
    401: Exit.REFUSED,
    403: Exit.REFUSED,
    404: Exit.NOT_FOUND,
    409: Exit.CONFLICT,
    413: Exit.USAGE,
    422: Exit.USAGE,
}


class PeopleClient:
    """Speaks to /api/v1 with one token. `url` is the gateway's public URL."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self._token = token

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        """GET a document; query values that are None are left out. Raises Problem."""
        kept = {name: value for name, value in query.items() if value is not None}
        return self._call("GET", path + ("?" + urlencode(kept, doseq=True) if kept else ""), None)

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """POST a document. Raises Problem."""
        return self._call("POST", path, body)

    def health(self) -> dict[str, Any]:
        """GET /healthz, ready or not. Raises Problem when nothing answers."""
        return self._exchange("GET", "/healthz", None)[1]

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        status, document = self._exchange(method, API + path, body)
        if status >= 400:
            raise refusal(status, document)
        return document

    def _exchange(self, method: str, path: str, body: Mapping[str, Any] | None) -> tuple[int, dict[str, Any]]:
        headers = {"accept": "application/json"} | ({"authorization": f"Bearer {self._token}"} if self._token else {})
        data = None
        if body is not None:
            headers["content-type"] = "application/json"
            data = json.dumps(body).encode()
        connection = _connection(self.url)
        try:
            connection.request(method, path, data, headers)
            response = connection.getresponse()
            content = response.read(MAX_ANSWER)
        except (OSError, http.client.HTTPException) as error:
            raise Problem(
                Exit.UNAVAILABLE,
                f"the gateway at {self.url} does not answer: {str(error) or type(error).__name__}",
                fix="lockgate dev (or lockgate gateway), or name another one with $LOCKGATE_URL",
            ) from None
        finally:
            connection.close()
        return response.status, _document(self.url, content)


def people(session: Session) -> PeopleClient:
    """The client of a command's session."""
    client = PeopleClient(gateway_url(session), read_token(session, HUMAN))
    learn_unsafe(session, client.url)
    return client


def learn_unsafe(session: Session, url: str) -> None:
    """Of another gateway only it knows its unsafe choices; that of this home has them in its settings. Raises Problem."""
    if os.environ.get(URL_VARIABLE):
        said = PeopleClient(url, "").health().get("unsafe")
        session.screen.unsafe = tuple(flat(str(name), limit=60) for name in said) if isinstance(said, list) else ()


def refusal(status: int, document: Mapping[str, Any]) -> Problem:
    """A problem+json document as a problem."""
    message = str(document.get("detail") or document.get("title") or f"HTTP status {status}")
    fix = str(document.get("fix") or "")
    if status == 401 and not fix:
        fix = "lockgate token issue, or name another token with --as"
    exit = _EXITS.get(status, Exit.UNAVAILABLE if status == 429 or status >= 500 else Exit.FAILED)
    return Problem(exit, message, field=str(document.get("field") or ""), fix=fix, rules=document.get("rules") or ())


def _connection(url: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Problem(Exit.USAGE, f"{url[:100]!r} is no http(s) URL", fix="set $LOCKGATE_URL to http(s)://host[:port]")
    if parts.scheme == "https":
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=CALL_SECONDS, context=context)
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=CALL_SECONDS)


def _document(url: str, content: bytes) -> dict[str, Any]:
    try:
        document = json.loads(content)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise Problem(Exit.UNAVAILABLE, f"what answers at {url} is no Lockgate gateway", fix="check $LOCKGATE_URL")
    return document
