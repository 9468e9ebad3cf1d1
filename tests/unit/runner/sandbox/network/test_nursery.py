"""What the nursery was given it gives back, also when it cannot take a stage: a runner lives for months."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from lockgate.runner.sandbox.network.nursery import STAGE_DESCRIPTORS, Nursery
from lockgate.runner.sandbox.uids import UidPool, UidRange
from lockgate.wire.frames import HEADER_BYTES, decode

ORDER = {"op": "open", "seq": 1, "id": "ab", "stage": "plan", "seconds": 1, "patience": {}, "egress": None}


@pytest.fixture
def nursery(tmp_path: Path):
    ours, theirs = socket.socketpair()
    made = Nursery(theirs)
    (tmp_path / "locks").mkdir(mode=0o700)
    made._pool = UidPool(UidRange(200_000, 2), tmp_path / "locks")
    yield made, ours
    made._selector.close()
    ours.close()
    theirs.close()


def given(nursery: Nursery) -> list[int]:
    found = [os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC) for _ in range(STAGE_DESCRIPTORS)]
    nursery._reader.descriptors.extend(found)
    return found


def descriptors_open() -> set[str]:
    return {each.name for each in Path("/proc/self/fd").iterdir()}


def still_open(descriptors: list[int]) -> list[int]:
    return [each for each in descriptors if Path(f"/proc/self/fd/{each}").exists()]


def test_without_a_free_user_a_stage_is_refused_and_leaves_no_descriptor(nursery):
    made, ours = nursery
    made._pool.take()
    descriptors = given(made)
    assert still_open(descriptors) == descriptors
    made._obey(dict(ORDER))
    said = decode(ours.recv(4096)[HEADER_BYTES:])
    assert "every sandbox uid is in use" in said["unavailable"]
    assert still_open(descriptors) == []
    assert made._broods == {}


def test_a_child_that_nobody_could_end_is_ended_at_once(nursery, monkeypatch: pytest.MonkeyPatch):
    """No descriptor is left to hold it by."""
    made, ours = nursery
    before, forked, fork = descriptors_open(), [], os.fork

    def noted() -> int:
        pid = fork()
        forked.append(pid)
        return pid

    def none_left(pid: int) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "fork", noted)
    monkeypatch.setattr(os, "pidfd_open", none_left)
    descriptors = given(made)
    made._obey({**ORDER, "patience": {"ticket": 1.0, "arrival": 1.0, "stall": 1.0}})
    assert "Too many open files" in decode(ours.recv(4096)[HEADER_BYTES:])["unavailable"]
    assert still_open(descriptors) == []
    assert descriptors_open() == before
    (child,) = forked
    assert not Path(f"/proc/{child}").exists()
    assert made._pool.take(), "its user is free again"
