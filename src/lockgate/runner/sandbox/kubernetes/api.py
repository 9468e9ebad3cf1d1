"""The runner's client to a Kubernetes API server: JSON documents, bounded in size, time and tries; it knows no kind of object.

Answered 429 the server has done nothing, so the same request is made again when it says. A lost connection leaves a request's outcome
unknown: it is made again too, and whoever creates something takes *it exists already* as the answer then (see ``create``).
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

REQUEST_SECONDS: Final = 10.0
PATIENCE_SECONDS: Final = 30.0
"""How long one request is tried in all."""
WATCH_SECONDS: Final = 60
"""The server ends a watch after so long; it goes on where it was. A connection that died unnoticed is given up a little later."""
MAX_ANSWER_BYTES: Final = 8 << 20
MAX_EVENT_BYTES: Final = 2 << 20
MAX_CONNECTIONS: Final = 64
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


class Api:
    """One API server, one pool of connections. Belongs to one event loop. ``server_time`` is what its last answer said the time was."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self.server_time: datetime.datetime | None = None
        limits = httpx2.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=8, keepalive_expiry=30.0)
        self._client = httpx2.AsyncClient(
            base_url=access.server,
            verify=access.context,
            trust_env=False,
            follow_redirects=False,
            limits=limits,
            timeout=REQUEST_SECONDS,
            headers={"accept": "application/json", "user-agent": "lockgate-runner"},
        )

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """One object, or a list. Raises ApiRefused, ApiUnavailable."""
        return (await self._asked("GET", path, None, query))[0]

    async def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create ``body`` in the collection ``path``. Raises ApiRefused, ApiUnavailable.

        When an earlier try of the same call may have made it, what exists under its name is the answer.
        """
        answer, repeated = await self._asked("POST", path, body, None, repeated_conflict=True)
        return await self.get(f"{path}/{body['metadata']['name']}") if repeated else answer

    async def delete(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
        """Order the end of one object; None when there is none. Raises ApiRefused, ApiUnavailable."""
        options = {"apiVersion": "v1", "kind": "DeleteOptions", **(body or {})}
        try:
            return (await self._asked("DELETE", path, options, None))[0]
        except ApiRefused as refused:
            if refused.status == httpx2.codes.NOT_FOUND:
                return None
            raise

    async def watch(self, path: str, query: Mapping[str, str]) -> AsyncIterator[dict[str, Any]]:
        """Events of one watch until the server ends it. Raises ApiRefused (410: too old, list again), ApiUnavailable when it is cut."""
        given = {**query, "watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": str(WATCH_SECONDS)}
        timeout = httpx2.Timeout(REQUEST_SECONDS, read=WATCH_SECONDS + REQUEST_SECONDS)
        try:
            async with self._client.stream("GET", path, params=given, headers=self._who(), timeout=timeout) as answer:
                if answer.status_code != httpx2.codes.OK:
                    if answer.status_code == httpx2.codes.UNAUTHORIZED:
                        self._who(anew=True)
                    raise _said(answer.status_code, await _body(answer))
                async for line in _lines(answer):
                    yield _event(line)
        except httpx2.HTTPError as error:
            raise ApiUnavailable(f"watch of {path}: {type(error).__name__}") from None

    async def close(self) -> None:
        """Drop every connection; idempotent."""
        await self._client.aclose()

    def _who(self, *, anew: bool = False) -> dict[str, str]:
        token = self.access.token
        return {} if token is None else {"authorization": f"Bearer {token.value(anew=anew)}"}

    async def _asked(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        query: Mapping[str, str] | None,
        *,
        repeated_conflict: bool = False,
    ) -> tuple[dict[str, Any], bool]:
        """The answer, and whether it is that what an earlier try asked for is there already."""
        loop = asyncio.get_running_loop()
        end = loop.time() + PATIENCE_SECONDS
        unheard, renewed, tries = False, False, 0
        while True:
            why: ApiRefused | ApiUnavailable
            try:
                status, after, document = await self._once(method, path, body, query)
                if 200 <= status < 300:
                    return document, False
                why = refused = ApiRefused(status, document)
                if refused.reason == "AlreadyExists" and unheard and repeated_conflict:
                    return document, True
                if status == httpx2.codes.UNAUTHORIZED and self.access.token is not None and not renewed:
                    renewed = True
                    self._who(anew=True)
                    continue
                if status != httpx2.codes.TOO_MANY_REQUESTS and not _again(refused):
                    raise refused
                pause = after
            except httpx2.HTTPError as error:
                unheard = True
                why, pause = ApiUnavailable(f"{method} {path}: {type(error).__name__}: {str(error)[:200]}"), None
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
