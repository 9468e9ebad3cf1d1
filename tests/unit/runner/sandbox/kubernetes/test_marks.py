"""A mark speaks for one namespace of one cluster, and only a region's own runners can make it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from lockgate.contract.canonical import canonical
from lockgate.contract.codec import to_document
from lockgate.runner.sandbox.kubernetes.marks import (
    ANNOTATION,
    MAX_BYTES,
    MAX_SECONDS,
    Mark,
    MarkKey,
    MarkRefused,
    RegionMarks,
    lifetime,
)

KEY, OTHER = MarkKey(b"r" * 32), MarkKey(b"s" * 32)
NAME, CLUSTER = "lockgate-run-" + "a" * 32, "0b1c2d3e-0000-0000-0000-000000000001"
MARK = Mark(2, NAME, CLUSTER, "eu-west", "runner-1", "i-1", 3600)


def test_a_mark_is_read_by_every_runner_of_its_region() -> None:
    assert MarkKey(b"r" * 32).read(KEY.sign(MARK), name=NAME, cluster=CLUSTER) == MARK


@pytest.mark.parametrize(
    ("annotation", "name", "place", "why"),
    [
        (None, NAME, CLUSTER, "no mark"),
        ("", NAME, CLUSTER, "no mark"),
        ({"v": 1}, NAME, CLUSTER, "no mark"),
        (OTHER.sign(MARK), NAME, CLUSTER, "not made in this region"),
        (KEY.sign(MARK).replace("3600", "1"), NAME, CLUSTER, "not made in this region"),
        (KEY.sign(MARK).rpartition(" ")[0], NAME, CLUSTER, "not made in this region"),
        (KEY.sign(MARK)[:-1], NAME, CLUSTER, "not made in this region"),
        (KEY.sign(MARK) + " ", NAME, CLUSTER, "not made in this region"),
        ("x" * (MAX_BYTES + 1), NAME, CLUSTER, "is none"),
        (KEY.sign(MARK) + "é", NAME, CLUSTER, "is none"),
        (KEY.sign(MARK), "lockgate-run-" + "b" * 32, CLUSTER, "another namespace's"),
        (KEY.sign(MARK), "kube-system", CLUSTER, "another namespace's"),
        (KEY.sign(MARK), NAME, "0b1c2d3e-0000-0000-0000-000000000002", "another cluster's"),
        (KEY.sign(replace(MARK, v=1)), NAME, CLUSTER, "another version"),
        (KEY.sign(replace(MARK, seconds=0)), NAME, CLUSTER, "another version"),
        (KEY.sign(replace(MARK, seconds=MAX_SECONDS + 1)), NAME, CLUSTER, "another version"),
    ],
)
def test_anything_else_is_refused_by_what_is_wrong_with_it(annotation: object, name: str, place: str, why: str) -> None:
    with pytest.raises(MarkRefused, match=why):
        KEY.read(annotation, name=name, cluster=place)


def test_the_key_of_marks_signs_nothing_else_of_the_region() -> None:
    """A MAC by the region's secret itself, or under another purpose's label, is none."""
    said = canonical(to_document(MARK))
    import hmac

    with pytest.raises(MarkRefused):
        KEY.read(f"{said.decode()} {hmac.digest(b'r' * 32, said, 'sha256').hex()}", name=NAME, cluster=CLUSTER)


def test_a_namespace_is_ours_by_its_mark_and_not_by_its_label() -> None:
    mine = RegionMarks(KEY, CLUSTER, "eu-west", "runner-1", "i-1", 3600)
    neighbour = RegionMarks(KEY, CLUSTER, "eu-west", "runner-2", "i-1", 3600)
    namesake = RegionMarks(KEY, CLUSTER, "eu-west", "runner-1", "i-2", 3600)
    made = {"metadata": {"name": NAME, "annotations": mine.annotations(NAME), "labels": {}}}
    assert mine.ours(made)
    assert not neighbour.ours(made), "it is another runner's, whatever its label says"
    assert not namesake.ours(made), "another installation that goes by the same name"
    copied = {"metadata": {"name": NAME[:-1] + "b", "annotations": mine.annotations(NAME)}}
    assert not mine.ours(copied)
    assert not mine.ours({"metadata": {"name": NAME, "labels": {"lockgate.dev/runner": "runner-1"}}})
    assert not mine.ours({})


def test_a_mark_says_nothing_secret_and_can_be_read_by_people() -> None:
    said, _, mac = (
        RegionMarks(KEY, CLUSTER, "eu-west", "runner-1", "i-1", 60).annotations(NAME)[ANNOTATION].rpartition(" ")
    )
    assert json.loads(said) == to_document(replace(MARK, seconds=60))
    assert len(mac) == 64


def test_a_namespace_may_live_longer_than_any_attempt_and_not_for_ever() -> None:
    assert lifetime(900) > 2 * (2 * 900 + 120) + 2 * 900
    assert lifetime(10**9) == MAX_SECONDS
