"""A pod that stands by is used for a stage that is as it was foreseen in all that cannot be changed any more, and for no other."""

from dataclasses import replace
from typing import Any

import pytest

from lockgate.runner.egress.rules import EgressRules
from lockgate.runner.sandbox.kubernetes.foreseen import holds, will_do
from lockgate.runner.sandbox.kubernetes.objects import Mount
from lockgate.runner.sandbox.port import InjectedFile, SandboxLimits, SandboxSpec

SPEC = SandboxSpec("0" * 32, "apply", ("/job",), enclosure="a" * 32, sandbox_class="gvisor")
DISK, MEMORY = Mount("/work", memory=False, size_bytes=100), Mount("/run/credentials", memory=True, size_bytes=100)


def test_what_is_sent_with_an_order_may_turn_out_otherwise() -> None:
    sent = replace(SPEC, argv=("/other",), env={"A": "b"}, files=(InjectedFile("/run/credentials/token", b"x"),))
    assert will_do(SPEC, sent)


@pytest.mark.parametrize(
    "other",
    [
        {"id": "1" * 32},
        {"stage": "check"},
        {"limits": SandboxLimits(wall_seconds=301)},
        {"egress": EgressRules((), (), ())},
        {"enclosure": "b" * 32},
        {"sandbox_class": "kata"},
    ],
    ids=lambda other: next(iter(other)),
)
def test_what_is_fixed_when_a_pod_is_made_must_be_as_foreseen(other: dict[str, Any]) -> None:
    assert not will_do(SPEC, replace(SPEC, **other))


def test_a_directory_must_be_there_with_room_enough() -> None:
    assert holds((DISK, MEMORY), (replace(DISK, size_bytes=99),))
    assert not holds((DISK, MEMORY), (replace(DISK, size_bytes=101),))
    assert not holds((DISK,), (MEMORY,))


def test_what_must_stay_in_memory_is_not_held_by_a_directory_on_a_disk() -> None:
    assert not holds((replace(MEMORY, memory=False),), (MEMORY,))
