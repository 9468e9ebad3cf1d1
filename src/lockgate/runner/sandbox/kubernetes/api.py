"""The runner's client to a Kubernetes API server: JSON documents, bounded in size, time and tries; it knows no kind of object.

Answered 429 the server has done nothing, so the same request is made again when it says. A lost connection leaves a request's outcome
unknown: it is made again too. That something *exists already* is then an answer only if what is there shows that it is that very one (see ``create``).
"""

from __future__ import annotations

import asyncio
import datetime
import email.utils
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import httpx2

from lockgate.runner.sandbox.kubernetes.access import Access
from lockgate.runner.sandbox.port import SandboxUnavailable

REQUEST_SECONDS: Final = 10.0
PATIENCE_SECONDS: Final = 30.0
"""How long one request is tried in all."""
WATCH_SECONDS: Final = 60
"""The server ends a watch after so long; it goes on where it was. A connection that died unnoticed is given up a little later."""
MAX_ANSWER_BYTES: Final = 8 << 20
MAX_EVENT_BYTES: Final = 2 << 20
MAX_CONNECTIONS: Final = 64
MAX_WATCHES: Final = 512
"""In a pool of their own: each holds its connection for a minute, and what waits for them must not keep anybody from ending a pod."""
_PAUSES: Final = (0.05, 0.1, 0.25, 0.5, 1.0)
_LONGEST_PAUSE: Final = 10.0


class ApiUnavailable(Exception):
    """The API server could not be reached, or could not answer, for as long as is tried; what was asked may have been done."""


class ApiRefused(Exception):
    """The API server said no. ``reason`` is its machine-readable word (``AlreadyExists``), ``causes`` what it says of details."""

    def __init__(self, status: int, document: Mapping[str, Any]) -> None:
        self.status = status
        self.reason = str(document.get("reason") or "")
        self.message = str(document.get("message") or f"HTTP status {status}")[:2000]
        details = document.get("details")
        causes = details.get("causes") if isinstance(details, dict) else None
        self.causes = tuple(str(one.get("reason") or "") for one in causes or () if isinstance(one, dict))
        super().__init__(f"{status} {self.reason}: {self.message}")


class Conflict(ApiRefused):
    """There is one of that name. ``perhaps_ours``: an earlier try of the same call may have made it, and nobody heard."""

    def __init__(self, status: int, document: Mapping[str, Any], *, perhaps_ours: bool) -> None:
        super().__init__(status, document)
        self.perhaps_ours = perhaps_ours


_NEVER_SENT: Final = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
"""After these the request certainly was not made. Whatever comes later may have been heard."""


class Api:
    """One API server, a pool of connections. Belongs to one event loop. ``server_time`` is what its last answer said the time was."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self.server_time: datetime.datetime | None = None
        self._client = _client(access, MAX_CONNECTIONS)
        self._watching = _client(access, MAX_WATCHES)

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """One object, or a list. Raises ApiRefused, ApiUnavailable."""
        return await self._asked("GET", path, None, query)

    async def create(self, path: str, body: Mapping[str, Any], *, readable: bool = False) -> dict[str, Any]:
        """Create ``body`` in the collection ``path``. Raises ApiRefused, ApiUnavailable.

        When an earlier try of the same call may have made it, and it may be read (``readable``), what exists under its name is the answer if it carries
        all labels and annotations of ``body``, which nobody else can know before it is made. Of what may not be read nobody can tell: a conflict.
        """
        try:
            return await self._asked("POST", path, body, None)
        except Conflict as conflict:
            if not (conflict.perhaps_ours and readable):
                raise
            found = await self.get(f"{path}/{body['metadata']['name']}")
            if not is_that(body, found):
                raise
            return found

    async def would_create(self, path: str, body: Mapping[str, Any]) -> None:
        """Ask whether ``body`` would be taken, without making it. Raises ApiRefused, ApiUnavailable."""
        await self._asked("POST", path, body, {"dryRun": "All"})

    async def delete(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
        """Order the end of one object; None when there is none. Raises ApiRefused, ApiUnavailable."""
        options = {"apiVersion": "v1", "kind": "DeleteOptions", **(body or {})}
        try:
            return await self._asked("DELETE", path, options, None)
        except ApiRefused as refused:
            if refused.status == httpx2.codes.NOT_FOUND:
                return None
            raise

    async def watch(self, path: str, query: Mapping[str, str]) -> AsyncIterator[dict[str, Any]]:
        """Events of one watch until the server ends it. Raises ApiRefused (410: too old, list again), ApiUnavailable when it is cut."""
        given = {**query, "watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": str(WATCH_SECONDS)}
        timeout = httpx2.Timeout(REQUEST_SECONDS, read=WATCH_SECONDS + REQUEST_SECONDS)
        for renewed in (False, True):
            try:
                async with self._watching.stream(
                    "GET", path, params=given, headers=self._who(anew=renewed), timeout=timeout
                ) as answer:
                    if answer.status_code == httpx2.codes.UNAUTHORIZED and not renewed:
                        continue
                    if answer.status_code != httpx2.codes.OK:
                        raise _said(answer.status_code, await _body(answer))
                    async for line in _lines(answer):
                        yield _event(line)
                    return
            except httpx2.HTTPError as error:
                raise ApiUnavailable(f"watch of {path}: {type(error).__name__}") from None

    async def close(self) -> None:
        """Drop every connection; idempotent."""
        await self._client.aclose()
        await self._watching.aclose()

    def _who(self, *, anew: bool = False) -> dict[str, str]:
        token = self.access.token
        try:
            return {} if token is None else {"authorization": f"Bearer {token.value(anew=anew)}"}
        except SandboxUnavailable as error:  # its file is being renewed, or is gone
            raise ApiUnavailable(f"no token to show: {error}") from None

    async def _asked(
        self, method: str, path: str, body: Mapping[str, Any] | None, query: Mapping[str, str] | None
    ) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        end = loop.time() + PATIENCE_SECONDS
        heard, renewed, tries = False, False, 0
        while True:
            why: ApiRefused | ApiUnavailable
            pause: float | None = None
            try:
                status, pause, document = await self._once(method, path, body, query)
                if 200 <= status < 300:
                    return document
                why = refused = ApiRefused(status, document)
                if refused.reason == "AlreadyExists":
                    raise Conflict(status, document, perhaps_ours=heard)
                if status == httpx2.codes.UNAUTHORIZED and self.access.token is not None and not renewed:
                    renewed = True
                    self._who(anew=True)
                    continue
                if status != httpx2.codes.TOO_MANY_REQUESTS and not _again(refused):
                    raise refused
                # Of 429 it is certain that nothing was done; the others may have come after the deed.
                heard = heard or status != httpx2.codes.TOO_MANY_REQUESTS
            except httpx2.HTTPError as error:
                heard = heard or not isinstance(error, _NEVER_SENT)
                why = ApiUnavailable(f"{method} {path}: {type(error).__name__}: {str(error)[:200]}")
            except ApiUnavailable as error:
                why = error
            pause = _PAUSES[min(tries, len(_PAUSES) - 1)] if pause is None else pause
            tries += 1
            if loop.time() + pause > end:
                raise why
            await asyncio.sleep(pause)

    async def _once(
        self, method: str, path: str, body: Mapping[str, Any] | None, query: Mapping[str, str] | None
    ) -> tuple[int, float | None, dict[str, Any]]:
        content = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        headers = self._who() | ({} if content is None else {"content-type": "application/json"})
        async with self._client.stream(method, path, params=query, content=content, headers=headers) as answer:
            self.server_time = _date(answer.headers) or self.server_time
            return answer.status_code, _retry_after(answer.headers), await _body(answer)


def is_that(body: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    """Whether what exists is what was to be made: it has every label and annotation of it, at least one of these, and is not on its way out."""
    wanted, there = body["metadata"], found.get("metadata", {})
    if not wanted.get("annotations") or there.get("deletionTimestamp"):
        return False
    return all(
        (there.get(kind) or {}).get(name) == value
        for kind in ("labels", "annotations")
        for name, value in wanted.get(kind, {}).items()
    )


def _client(access: Access, connections: int) -> httpx2.AsyncClient:
    limits = httpx2.Limits(max_connections=connections, max_keepalive_connections=8, keepalive_expiry=30.0)
    return httpx2.AsyncClient(
        base_url=access.server,
        verify=access.context,
        trust_env=False,
        follow_redirects=False,
        limits=limits,
        timeout=REQUEST_SECONDS,
        headers={"accept": "application/json", "user-agent": "lockgate-runner"},
    )


def _again(refused: ApiRefused) -> bool:
    """What the server says of itself being unable: the same request may be made again. A webhook that does not answer is somebody else's."""
    unable = refused.status in (
        httpx2.codes.SERVICE_UNAVAILABLE,
        httpx2.codes.GATEWAY_TIMEOUT,
        httpx2.codes.BAD_GATEWAY,
    )
    return unable or refused.reason in ("ServerTimeout", "Timeout")


def _date(headers: Mapping[str, str]) -> datetime.datetime | None:
    try:
        return email.utils.parsedate_to_datetime(headers.get("date", ""))
    except ValueError:
        return None


def _retry_after(headers: Mapping[str, str]) -> float | None:
    text = headers.get("retry-after", "")
    return min(float(text), _LONGEST_PAUSE) if text.isascii() and text.isdigit() else None


async def _body(answer: httpx2.Response) -> dict[str, Any]:
    data = bytearray()
    async for piece in answer.aiter_bytes():
        data += piece
        if len(data) > MAX_ANSWER_BYTES:
            raise httpx2.DecodingError(f"an answer of more than {MAX_ANSWER_BYTES} bytes")
    return _object(bytes(data))


def _object(data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data or b"{}")
    except ValueError:
        return {"message": data[:200].decode("utf-8", "replace")}
    return document if isinstance(document, dict) else {}


async def _lines(answer: httpx2.Response) -> AsyncIterator[bytes]:
    data = bytearray()
    async for piece in answer.aiter_bytes():
        data += piece
        while (at := data.find(b"\n")) >= 0:
            yield bytes(data[:at])
            del data[: at + 1]
        if len(data) > MAX_EVENT_BYTES:
            raise httpx2.DecodingError(f"an event of more than {MAX_EVENT_BYTES} bytes")


def _event(line: bytes) -> dict[str, Any]:
    event = _object(line)
    inner = event.get("object")
    if event.get("type") == "ERROR" or not isinstance(inner, dict):
        document = inner if isinstance(inner, dict) else {}
        code = document.get("code")
        raise _said(code if isinstance(code, int) else httpx2.codes.INTERNAL_SERVER_ERROR, document)
    return event


def _said(status: int, document: Mapping[str, Any]) -> ApiRefused | ApiUnavailable:
    refused = ApiRefused(status, document)
    if status == httpx2.codes.TOO_MANY_REQUESTS or status >= httpx2.codes.INTERNAL_SERVER_ERROR:
        return ApiUnavailable(str(refused))
    return refused
