"""Whether one object is gone from the API server, waited for on a watch of that object alone; what runs on a node is looked at elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from lockgate.runner.sandbox.kubernetes.api import Api, ApiRefused, ApiUnavailable

_NOT_FOUND: Final = 404
_TOO_OLD: Final = 410
_PAUSE_SECONDS: Final = 0.25


async def gone(api: Api, collection: str, name: str, uid: str, seconds: float) -> Mapping[str, Any] | None:
    """None once no object ``name`` of this uid is in ``collection``; what is left of it when ``seconds`` are over. Raises ApiRefused, ApiUnavailable.

    One of the same name and another uid is another object: the one that was asked about is gone.
    """
    left: Mapping[str, Any] | None = None
    try:
        async with asyncio.timeout(seconds):
            while (left := await _now(api, f"{collection}/{name}", uid)) is not None:
                await _until_deleted(api, collection, name, uid, left)
    except TimeoutError:
        return left
    return None


async def _now(api: Api, path: str, uid: str) -> Mapping[str, Any] | None:
    try:
        found = await api.get(path)
    except ApiRefused as refused:
        if refused.status == _NOT_FOUND:
            return None
        raise
    return found if found["metadata"]["uid"] == uid else None


async def _until_deleted(api: Api, collection: str, name: str, uid: str, left: Mapping[str, Any]) -> None:
    """Returns when it is told to be deleted, or when the watch ends: the caller looks again either way."""
    query = {"fieldSelector": f"metadata.name={name}", "resourceVersion": str(left["metadata"]["resourceVersion"])}
    try:
        async for event in api.watch(collection, query):
            if event.get("type") == "DELETED" and event["object"].get("metadata", {}).get("uid") == uid:
                return
    except ApiUnavailable:
        await asyncio.sleep(_PAUSE_SECONDS)
    except ApiRefused as refused:
        if refused.status != _TOO_OLD:
            raise
