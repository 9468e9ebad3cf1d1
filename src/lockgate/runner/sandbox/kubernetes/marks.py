"""The signed mark by which any runner of a region knows a namespace of an attempt; it must not be believed for another name or cluster.

Nothing is deleted without one: a name can be copied, and a label set by anybody who may label a namespace. The mark is a MAC under a key of the
region's, over the namespace's own name and the cluster's identity, so a copy of it on something else says nothing (ADR 0041).
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from lockgate.contract import strictjson
from lockgate.contract.canonical import canonical
from lockgate.contract.codec import DocumentError, from_document, to_document

ANNOTATION: Final = "lockgate.dev/mark"
VERSION: Final = 2
MAX_BYTES: Final = 2048
MAX_SECONDS: Final = 7 * 24 * 3600
_KEY_LABEL: Final = b"lockgate-namespace-mark-v1"


class MarkRefused(ValueError):
    """The namespace carries no mark of this region that is for it: it is not ours to delete. A human may look at who made it."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What a runner says of a namespace it makes. `cluster` is the UID of the namespace `kube-system`.

    `instance` tells two processes of one runner's name apart: the one that is not of this installation is a neighbour, whatever it calls itself.

    `seconds` is how long after its creation the namespace has outlived its attempt. Both ends of that time are the API server's clock: no two machines'
    clocks are compared (TRUST §3).
    """

    v: int
    name: str
    cluster: str
    region: str
    runner: str
    instance: str
    seconds: int


class MarkKey:
    """Signs and verifies marks of one region."""

    __slots__ = ("_key",)

    def __init__(self, region_secret: bytes) -> None:
        self._key = HKDF(algorithm=SHA256(), length=32, salt=None, info=_KEY_LABEL).derive(region_secret)

    def sign(self, mark: Mark) -> str:
        """The annotation's value: the mark as canonical JSON, a space, and the MAC of exactly those bytes."""
        said = canonical(to_document(mark))
        return f"{said.decode()} {self._mac(said)}"

    def read(self, annotation: object, *, name: str, cluster: str) -> Mark:
        """The mark in an annotation of the namespace `name` of `cluster`. Raises MarkRefused: nobody of this region made it for that."""
        said, mac = _parts(annotation)
        if not hmac.compare_digest(self._mac(said), mac):
            raise MarkRefused("its mark was not made in this region")
        return _meant_for(said, name, cluster)

    def _mac(self, said: bytes) -> str:
        return hmac.digest(self._key, said, "sha256").hex()


def _parts(annotation: object) -> tuple[bytes, str]:
    """What a mark says, and its MAC. Raises MarkRefused."""
    if not isinstance(annotation, str) or not annotation:
        raise MarkRefused("it has no mark")
    if len(annotation) > MAX_BYTES or not annotation.isascii():
        raise MarkRefused("its mark is none")
    said, _, mac = annotation.rpartition(" ")
    return said.encode(), mac


def _meant_for(said: bytes, name: str, cluster: str) -> Mark:
    """The mark, if it is one for this namespace of this cluster. Raises MarkRefused."""
    try:
        mark = from_document(Mark, strictjson.loads(said))
    except (DocumentError, ValueError) as error:
        raise MarkRefused(f"its mark cannot be read: {error}") from None
    if mark.v != VERSION or not 0 < mark.seconds <= MAX_SECONDS:
        raise MarkRefused("its mark is of another version")
    if mark.name != name:
        raise MarkRefused("its mark is another namespace's")
    if mark.cluster != cluster:
        raise MarkRefused("its mark is another cluster's")
    return mark


@dataclass(frozen=True, slots=True)
class RegionMarks:
    """One runner's marks in one cluster, as the provider makes and reads them. `instance` and `seconds` as in Mark."""

    key: MarkKey
    cluster: str
    region: str
    runner: str
    instance: str
    seconds: int

    def annotations(self, namespace: str) -> dict[str, str]:
        """For a namespace of this name that is about to be made."""
        mark = Mark(VERSION, namespace, self.cluster, self.region, self.runner, self.instance, self.seconds)
        return {ANNOTATION: self.key.sign(mark)}

    def ours(self, namespace: Mapping[str, object]) -> bool:
        """Whether this very runner made this namespace (its whole document): a label says that of any."""
        try:
            return self.made(marked(self.key, self.cluster, namespace))
        except MarkRefused:
            return False

    def made(self, mark: Mark) -> bool:
        """Whether it is a mark of this very runner's: its name alone may be somebody else's too."""
        return (mark.runner, mark.instance) == (self.runner, self.instance)


def marked(key: MarkKey, cluster: str, namespace: Mapping[str, object]) -> Mark:
    """The mark that a namespace's whole document carries for itself. Raises MarkRefused."""
    name, annotation = _carried(namespace)
    return key.read(annotation, name=name, cluster=cluster)


def claimed_region(cluster: str, namespace: Mapping[str, object]) -> str:
    """The region whose mark a namespace says it carries, for itself; "" when it says none. Nobody has verified it: it decides how loudly it is told of, and nothing else."""
    name, annotation = _carried(namespace)
    try:
        return _meant_for(_parts(annotation)[0], name, cluster).region
    except MarkRefused:
        return ""


def _carried(namespace: Mapping[str, object]) -> tuple[str, object]:
    metadata = namespace.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    annotations = metadata.get("annotations")
    return str(metadata.get("name", "")), annotations.get(ANNOTATION) if isinstance(annotations, Mapping) else None


def lifetime(wall_seconds: int) -> int:
    """How long a namespace may live whose attempt's sandboxes run at most `wall_seconds` each: more than any attempt takes, in seconds.

    An attempt comes to its start and to its end within the time its grant was made for, each (twice two stages and a margin); what it has begun by
    then it ends, and a look afterwards are two stages more.
    """
    return min(MAX_SECONDS, 8 * wall_seconds + 900)
