"""Pods without a cluster, for the tests of the channel."""

from tests.invariants.conftest import job_root
from tests.pods import loopback, reachable

__all__ = ["job_root", "loopback", "reachable"]
