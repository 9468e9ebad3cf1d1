"""Who came, what it could reach and what its node runs: each is held against what was made, before anything is sent."""

from typing import Any

import pytest

from lockgate.contract import podchannel
from lockgate.runner.sandbox.kubernetes.planning import PROBE, surroundings
from lockgate.runner.sandbox.kubernetes.provider import check_arrival
from lockgate.runner.sandbox.network.host import Arrival
from lockgate.runner.sandbox.port import SandboxSpec, SandboxUnavailable

IMAGE = "sha256:" + "a" * 64
PASSED = dict.fromkeys(podchannel.CHECKS, True)


def pod(image: str = f"registry.test/job@{IMAGE}") -> dict[str, Any]:
    return {"metadata": {"uid": "u1"}, "status": {"containerStatuses": [{"name": "job", "imageID": image}]}}


def test_the_pod_that_was_made_and_reaches_nothing_is_let_in() -> None:
    check_arrival(Arrival("u1", PASSED, frozenset()), pod(), IMAGE)


def test_another_pod_is_not_let_in() -> None:
    with pytest.raises(SandboxUnavailable, match="another pod"):
        check_arrival(Arrival("u2", PASSED, frozenset()), pod(), IMAGE)


@pytest.mark.parametrize("name", podchannel.CHECKS)
@pytest.mark.parametrize("answered", [True, False])
def test_a_look_that_failed_or_was_not_made_lets_no_pod_in(name: str, answered: bool) -> None:
    checks = PASSED | {name: False} if answered else {key: True for key in PASSED if key != name}
    with pytest.raises(SandboxUnavailable, match=name) as refused:
        check_arrival(Arrival("u1", checks, frozenset()), pod(), IMAGE)
    assert "NetworkPolicy" in refused.value.fix


@pytest.mark.parametrize("ran", ["registry.test/job@sha256:" + "b" * 64, "registry.test/job:latest", ""])
def test_another_image_than_the_pinned_one_is_not_let_in(ran: str) -> None:
    with pytest.raises(SandboxUnavailable, match="image"):
        check_arrival(Arrival("u1", PASSED, frozenset()), pod(ran), IMAGE)


def test_the_probe_alone_waits_for_the_whole_look() -> None:
    whole = {
        stage: surroundings(SandboxSpec("0" * 32, stage, ("/x",)), ("10.0.0.1:6443",)).whole
        for stage in (PROBE, "plan")
    }
    assert whole == {PROBE: True, "plan": False}
