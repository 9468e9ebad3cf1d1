from __future__ import annotations

import os
import select
import time

import pytest

from lockgate.job.drivers import process


def command(tmp_path, script, seconds=300.0, keep=1000):
    return process.Command(["/bin/sh", "-c", script], {"PATH": os.environ["PATH"]}, tmp_path, seconds, keep)


def run(tmp_path, script, **changes):
    return process.run(command(tmp_path, script, **changes), time.monotonic)


def test_both_streams_are_read_at_once_and_kept_up_to_their_bound(tmp_path):
    script = "head -c 3000000 /dev/zero | tr '\\0' x & head -c 3000000 /dev/zero | tr '\\0' y >&2; wait"
    outcome = run(tmp_path, script)
    assert (outcome.stdout, outcome.stderr, outcome.truncated) == ("x" * 1000, "y" * 1000, True)
    assert outcome.status == "ok"


def test_output_of_exactly_the_bound_is_not_truncated(tmp_path):
    assert run(tmp_path, "printf %1000s").truncated is False
    assert run(tmp_path, "printf %1001s").truncated is True


@pytest.mark.parametrize(
    ("script", "status", "code", "signal"), [("exit 3", "failed", 3, None), ("kill -SEGV $$", "killed", None, 11)]
)
def test_the_end_is_told_as_it_was(tmp_path, script, status, code, signal):
    outcome = run(tmp_path, script)
    assert (outcome.status, outcome.exit_code, outcome.signal) == (status, code, signal)


def test_a_tool_that_ignores_sigterm_is_killed_with_its_children(tmp_path):
    script = "trap '' TERM; (trap '' TERM; echo $$; exec sleep 600) & sleep 600"
    outcome = run(tmp_path, script, seconds=0.5)
    assert (outcome.status, outcome.signal, outcome.timed_out) == ("timeout", 9, True)


def test_a_child_left_behind_neither_holds_the_job_nor_lives_on(tmp_path):
    outcome = run(tmp_path, "sleep 600 & echo $!")
    assert outcome.status == "ok"
    assert ended(int(outcome.stdout), within=60), "it lives on"


def ended(number: int, within: float) -> bool:
    """Whether a process is gone, or dead and only not reaped yet, in so many seconds at most; the kernel tells when."""
    try:
        watched = os.pidfd_open(number)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([watched], [], [], within)[0])
    finally:
        os.close(watched)


def test_a_child_that_left_the_group_does_not_hold_the_job(tmp_path):
    outcome = run(tmp_path, "setsid sleep 20 & exit 0")
    assert outcome.status == "ok"


def test_a_command_that_cannot_start_says_so(tmp_path):
    nothing = process.Command(["/no/such/tool"], {}, tmp_path, 300, 1000)
    outcome = process.run(nothing, time.monotonic)
    assert (outcome.status, outcome.exit_code) == ("failed", None)
    assert "/no/such/tool" in outcome.how


def test_standard_input_is_empty(tmp_path):
    assert run(tmp_path, "cat; echo end").stdout == "end\n"
