"""Which runners are there: by their own polls, of their own region and tenant, and not for ever."""

from lockgate.gateway.doors import RunnerPeer
from lockgate.gateway.scheduling.presence import GRACE_MS, HEARD_MS, Presence

ONE = RunnerPeer("e2e", "default", "local", "one")
TWO = RunnerPeer("e2e", "default", "local", "two")


class Clock:
    now = 1_000_000

    def __call__(self) -> int:
        return self.now


def test_any_runner_of_the_place_that_has_the_driver_serves_it() -> None:
    presence = Presence(Clock())
    presence.heard(ONE, ("runbook",))
    presence.heard(TWO, ("ansible",))
    assert presence.serves("default", "local", "runbook") and presence.serves("default", "local", "ansible")
    assert not presence.serves("default", "local", "opentofu")
    assert not presence.serves("other", "local", "runbook") and not presence.serves("default", "far", "runbook")


def test_a_silent_runner_is_gone_and_a_busy_one_is_not() -> None:
    clock = Clock()
    presence = Presence(clock)
    presence.heard(ONE, ("runbook",))
    clock.now += HEARD_MS
    presence.heard(ONE)
    clock.now += HEARD_MS
    assert presence.serves("default", "local", "runbook"), "a heartbeat counts, with the drivers of the last poll"
    clock.now += 1
    assert not presence.serves("default", "local", "runbook")


def test_a_heartbeat_of_a_runner_whose_drivers_nobody_heard_says_nothing() -> None:
    presence = Presence(Clock())
    presence.heard(ONE)
    assert not presence.serves("default", "local", "runbook")


def test_neither_a_new_operation_nor_a_new_gateway_complains_at_once() -> None:
    clock = Clock()
    presence = Presence(clock)
    assert not presence.settled(clock.now - 10 * GRACE_MS), "the gateway has just started"
    clock.now += GRACE_MS
    assert presence.settled(clock.now - GRACE_MS)
    assert not presence.settled(clock.now - GRACE_MS + 1), "the operation has just been queued"
