"""The channel's sequence: exactly one order, each message once."""

import itertools

import pytest

from lockgate.runner.sandbox.sequence import STEPS, ChannelSequence

ORDERS = {"plan": ["hello", "inputs", "ready", "result"], "apply": ["hello", "inputs", "ready", "go", "result"]}


@pytest.mark.parametrize("stage", sorted(ORDERS))
def test_only_the_one_order_is_accepted(stage):
    moves = [(side, name) for side, name, _ in STEPS]
    for length in range(1, len(moves) + 1):
        for tried in itertools.permutations(moves, length):
            sequence = ChannelSequence(stage)
            accepted = False not in [sequence.advance(side, name) for side, name in tried]  # every one is tried
            assert accepted is ([name for _, name in tried] == ORDERS[stage][:length])


def test_a_refused_message_does_not_move_it_and_nothing_follows_the_last():
    sequence = ChannelSequence("plan")
    assert not sequence.advance("job", "result")
    assert not sequence.advance("runner", "hello")
    for side, name, _ in STEPS:
        sequence.advance(side, name)
    assert sequence.expected() is None
    assert sequence.limit_for("job") is None and sequence.limit_for("runner") is None


def test_who_must_be_silent_may_send_no_byte():
    sequence = ChannelSequence("plan")
    assert sequence.limit_for("runner") is None
    assert sequence.limit_for("job") == 64 * 1024
