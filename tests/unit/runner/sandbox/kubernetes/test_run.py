"""Whose word counts on how a pod ended: the node's wherever it says more than the pod's own first process could know."""

from __future__ import annotations

import pytest

from lockgate.runner.sandbox.kubernetes.failures import PodEnd
from lockgate.runner.sandbox.kubernetes.run import explains, patience
from lockgate.runner.sandbox.port import ExitReport


@pytest.mark.parametrize("cause", ["oom", "disk", "wall"])
def test_what_only_the_node_can_name_is_the_nodes(cause):
    assert explains(PodEnd(cause, None, None, "why"), ExitReport("exit", 0))


@pytest.mark.parametrize("claimed", ["destroyed", "signal", "lost"])
def test_an_eviction_is_a_sigterm_to_the_pod_and_an_eviction_to_its_node(claimed):
    assert explains(PodEnd("lost", None, None, "the node evicted the pod"), ExitReport(claimed))


def test_a_job_that_ended_by_itself_has_ended_so_whatever_became_of_its_pod():
    assert not explains(PodEnd("lost", None, None, "the pod was deleted by somebody else"), ExitReport("exit", 0))
    assert not explains(PodEnd("exit", 1, None, ""), ExitReport("signal", None, 9))


def test_where_the_pod_said_nothing_the_node_is_all_there_is():
    assert explains(PodEnd("exit", 1, None, ""), None)


def test_an_end_that_nobody_here_ordered_and_the_pod_cannot_explain_is_waited_for_longer():
    by_itself = patience(ExitReport("exit", 0), ours=False)
    assert patience(ExitReport("destroyed"), ours=False) == patience(None, ours=False) > by_itself
    assert patience(ExitReport("signal", None, 15), ours=False) == by_itself
    assert patience(ExitReport("destroyed"), ours=True) == patience(None, ours=True) == by_itself


def test_of_a_job_that_was_killed_the_node_is_asked_for_longer_whether_its_memory_was_used_up():
    """On a busy node it says so seconds later than the pod's first process, which saw SIGKILL and cannot know whose it was."""
    killed = patience(ExitReport("signal", None, 9), ours=False)
    assert killed == patience(None, ours=False) > patience(ExitReport("exit", 0), ours=False)
