"""What is counted can be read, and nobody can make the list of names grow without an end."""

import asyncio

from lockgate.telemetry.lag import watch_lag
from lockgate.telemetry.metrics import MAX_RULES, Metrics
from lockgate.telemetry.names import Counted, Level, Timed


def test_counts_times_and_levels_stand_in_the_text():
    metrics = Metrics()
    metrics.count(Counted.DECISIONS, "request", "deny")
    metrics.count(Counted.DECISIONS, "request", "deny")
    metrics.time(Timed.DECISION, 0.003, "request")
    metrics.level(Level.QUEUE_DEPTH, 7, "queued")
    text = metrics.text().decode()
    assert 'lockgate_decisions_total{answer="deny",question="request"} 2.0' in text
    assert 'lockgate_decision_seconds_bucket{le="0.002",question="request"} 0.0' in text
    assert 'lockgate_decision_seconds_bucket{le="0.005",question="request"} 1.0' in text
    assert 'lockgate_queue_depth{state="queued"} 7.0' in text


def test_two_processes_parts_do_not_share_a_registry():
    one, other = Metrics(), Metrics()
    one.count(Counted.CALLS, "queued")
    assert b'outcome="queued"' not in other.text()


def test_rules_past_the_bound_are_counted_together():
    metrics = Metrics()
    for number in range(MAX_RULES + 5):
        metrics.count_rule(f"rule-{number}")
    metrics.count_rule("rule-0")
    text = metrics.text().decode()
    assert text.count("lockgate_denials_total{") == MAX_RULES + 1
    assert 'lockgate_denials_total{rule="other"} 5.0' in text
    assert 'lockgate_denials_total{rule="rule-0"} 2.0' in text


async def test_a_loop_that_was_kept_busy_is_seen_to_be_late():
    late: list[float] = []
    noted = asyncio.Event()

    def note(seconds: float) -> None:
        late.append(seconds)
        noted.set()

    watching = asyncio.create_task(watch_lag(note, tick=0.01))
    await asyncio.sleep(0)
    clock = asyncio.get_running_loop().time
    until = clock() + 0.2
    while clock() < until:
        pass
    await noted.wait()
    watching.cancel()
    assert late[0] > 0.15
