"""What is remembered of pods longer than a runner's process lives: which node had which. It must not guess: what is not in it was perhaps there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from lockgate.runner.sandbox.kubernetes.cluster import PodMemory, PodRef

_FIELDS: Final = ("enclosure", "uid", "node", "node_uid")


@dataclass
class Forgetful:
    """Of no more than this process: for a provider that nobody keeps a journal for."""

    kept: dict[str, Mapping[str, str]] = field(default_factory=dict)

    def remember(self, sandbox: str, place: Mapping[str, str]) -> None:
        """Until the process ends."""
        self.kept[sandbox] = dict(place)

    def places(self) -> Mapping[str, Mapping[str, str]]:
        """All of it."""
        return self.kept

    def enclosure_of(self, sandbox: str) -> str | None:
        """As its place says."""
        place = self.kept.get(sandbox)
        return place["enclosure"] if place is not None else None


def place_of(enclosure: str, pod: PodRef) -> dict[str, str]:
    """What is kept of one pod."""
    return dict(zip(_FIELDS, (enclosure, pod.uid, pod.node, pod.node_uid), strict=True))


def remembered(place: Mapping[str, str]) -> PodRef:
    """The pod of which this was kept."""
    return PodRef(place["uid"], place["node"], node_uid=place["node_uid"])


def pods_of(memory: PodMemory, enclosure: str) -> list[PodRef]:
    """Every pod of an enclosure that is remembered."""
    return [remembered(place) for place in memory.places().values() if place["enclosure"] == enclosure]
