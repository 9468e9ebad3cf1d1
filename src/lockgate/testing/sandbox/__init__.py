"""The contract every ``Sandbox`` provider must meet, as real attempts made from inside; it must run without pytest.

Install it for your own provider: make a ``Bench`` around the provider and run each function of ``CHECKS`` with it; a check raises
AssertionError with what got through. Every program inside is run by the job root's interpreter, speaks the job's channel, tries
something, and reports what happened; what the host can see is then looked at from the host.
"""

from lockgate.testing.sandbox import bounds, conversation, egress, escape, isolation
from lockgate.testing.sandbox.bench import CHECKS, Bench, converse, host_processes, outcomes

__all__ = [
    "CHECKS",
    "Bench",
    "bounds",
    "conversation",
    "converse",
    "egress",
    "escape",
    "host_processes",
    "isolation",
    "outcomes",
]
