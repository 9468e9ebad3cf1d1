"""Removes namespaces that outlived their attempt; it must not touch one whose mark does not verify for that very name and cluster.

Any number of reapers may run, on any runners of the region, at any time: each looks, judges and deletes by UID, and what another one deleted
meanwhile is no longer there. It keeps nothing in memory between two rounds.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol

from lockgate.contract.shown import flat
from lockgate.runner.sandbox.kubernetes.marks import MarkRefused, RegionMarks, claimed_region, marked
from lockgate.runner.sandbox.kubernetes.objects import PREFIX

FINALIZERS_REMAIN: Final = (
    "NamespaceContentRemaining",
    "NamespaceFinalizersRemaining",
    "NamespaceDeletionContentFailure",
)
MAX_SAID: Final = 500
STUCK_AFTER: Final = datetime.timedelta(seconds=60)
"""Kubernetes itself takes five to ten seconds."""


class Verdict(StrEnum):
    """What becomes of a namespace in one round."""

    KEPT = "kept"
    """Of a run that lives, or may live."""
    FOREIGN = "foreign"
    """It carries no mark of this region for itself: it is left alone, and told of."""
    ELSEWHERE = "elsewhere"
    """As foreign, but it says that it is another region's, whose own runners look after it."""
    ORPHAN = "orphan"
    """Its attempt is over: it is deleted."""
    GOING = "going"
    """It was deleted a moment ago."""
    STUCK = "stuck"
    """It was deleted a while ago and is still there; deleting it again changes nothing, whoever can must look."""


@dataclass(frozen=True, slots=True)
class Found:
    """One namespace as a round judged it. `runner` is who made it, where its mark says so; `why` is for people."""

    name: str
    uid: str
    verdict: Verdict
    runner: str = ""
    why: str = ""


class Namespaces(Protocol):
    """What a round needs of the cluster. Every method raises when there is no answer to rely on."""

    async def run_namespaces(self) -> tuple[Sequence[Mapping[str, Any]], datetime.datetime]:
        """Every namespace with the label `objects.RUN_LABEL`, and the API server's own time when it answered."""

    async def delete_namespace(self, name: str, uid: str) -> bool:
        """Delete it if it still is the one of that UID; False when there is none of that name and UID any more."""


@dataclass(frozen=True, slots=True)
class Reaper:
    """One runner's view, by its marks."""

    marks: RegionMarks

    async def round(self, cluster: Namespaces, live: Callable[[], Collection[str]]) -> list[Found]:
        """Look once at every namespace and delete the orphans. `live` tells the names that this runner's own attempts use. Raises what `cluster` does."""
        namespaces, now = await cluster.run_namespaces()
        found = []
        for namespace in namespaces:
            # Asked anew for each: an attempt may have begun since the list was made.
            judged = self.judge(namespace, live(), now)
            if judged.verdict is Verdict.ORPHAN:
                await cluster.delete_namespace(judged.name, judged.uid)
            found.append(judged)
        return found

    def judge(self, namespace: Mapping[str, Any], live: Collection[str], now: datetime.datetime) -> Found:
        """What is to become of one namespace. `now` is the API server's time, as its creation is. Never raises: what cannot be read is foreign."""
        said = namespace.get("metadata")
        metadata: Mapping[str, Any] = said if isinstance(said, Mapping) else {}
        name, uid = str(metadata.get("name", "")), str(metadata.get("uid", ""))
        if not name.startswith(PREFIX) or not uid:
            return Found(name, uid, Verdict.FOREIGN, why="its name is none of ours")
        try:
            mark = marked(self.marks.key, self.marks.cluster, namespace)
            created = _time(metadata.get("creationTimestamp"))
        except MarkRefused as refused:
            region = claimed_region(self.marks.cluster, namespace)
            if region in ("", self.marks.region):
                return Found(name, uid, Verdict.FOREIGN, why=str(refused))
            return Found(name, uid, Verdict.ELSEWHERE, why=f"it says that it is of the region {flat(region, limit=80)}")
        except ValueError:
            return Found(name, uid, Verdict.FOREIGN, why="the API server does not say when it was created")
        if name in live:
            return Found(name, uid, Verdict.KEPT, mark.runner)
        over = self.marks.made(mark) or now >= created + datetime.timedelta(seconds=mark.seconds)
        if not over:
            return Found(name, uid, Verdict.KEPT, mark.runner)
        if not metadata.get("deletionTimestamp"):
            return Found(name, uid, Verdict.ORPHAN, mark.runner)
        stuck = now >= _time(metadata["deletionTimestamp"]) + STUCK_AFTER
        return Found(name, uid, Verdict.STUCK if stuck else Verdict.GOING, mark.runner, stuck_because(namespace))


def _time(text: object) -> datetime.datetime:
    """A time as the API server writes it. Raises ValueError."""
    read = datetime.datetime.fromisoformat(str(text))
    if read.tzinfo is None:
        raise ValueError("a time without its zone")
    return read


def stuck_because(namespace: Mapping[str, Any]) -> str:
    """What the cluster says keeps a deleted namespace, in its own words, bounded; "" when it says nothing yet."""
    status = namespace.get("status")
    conditions = status.get("conditions") if isinstance(status, Mapping) else None
    said = [
        str(item.get("message", item.get("type")))
        for item in conditions or ()
        if isinstance(item, Mapping) and item.get("status") == "True" and item.get("type") in FINALIZERS_REMAIN
    ]
    return "; ".join(said)[:MAX_SAID]
