"""Lists that come in pages, bounded in items and in requests; it judges nothing of what it lists."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from lockgate.runner.sandbox.kubernetes.api import Api, ApiRefused, ApiUnavailable

PAGE: Final = 250
MOST: Final = 20_000
"""Items of one list. A cluster of so many attempts at once has other troubles first."""
PODS: Final = 1_000
"""Of one namespace; its quota has far fewer."""
_GONE: Final = 410


@dataclass(frozen=True, slots=True)
class Listed:
    """``items`` in the server's order, without its notes on who managed which field; ``version`` of the list; ``asked`` by the server's clock, when its
    first page was told. ``whole`` is False when there are more: who needs all of them knows nothing then.
    """

    items: tuple[Mapping[str, Any], ...]
    version: str
    asked: datetime.datetime | None
    whole: bool


async def listed(api: Api, path: str, query: Mapping[str, str] | None = None, most: int = MOST) -> Listed:
    """All that is in the collection ``path``, ``most`` at the most. Raises ApiRefused, ApiUnavailable.

    When the server has forgotten where a list was, it is begun again, once.
    """
    try:
        return await _pages(api, path, query or {}, most)
    except ApiRefused as refused:
        if refused.status != _GONE:
            raise
    return await _pages(api, path, query or {}, most)


async def whole(api: Api, path: str, most: int) -> Listed:
    """All that is in the collection ``path``, to be relied on: what is not listed is not there. Raises ApiRefused; ApiUnavailable also when there is more than ``most``."""
    found = await listed(api, path, most=most)
    if not found.whole:
        raise ApiUnavailable(f"{path} has more than {most} items")
    return found


async def _pages(api: Api, path: str, query: Mapping[str, str], most: int) -> Listed:
    found: list[Mapping[str, Any]] = []
    asked: datetime.datetime | None = None
    onward, version = "", ""
    for _ in range(most // PAGE + 1):
        answer = await api.get(path, {**query, "limit": str(PAGE)} | ({"continue": onward} if onward else {}))
        asked = asked or api.server_time
        for item in answer.get("items") or ():
            item.get("metadata", {}).pop("managedFields", None)
            found.append(item)
        about = answer.get("metadata", {})
        onward, version = str(about.get("continue") or ""), str(about.get("resourceVersion") or "")
        if not onward or len(found) >= most:
            break
    return Listed(tuple(found[:most]), version, asked, not onward and len(found) <= most)
