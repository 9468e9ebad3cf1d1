"""What is counted and timed, in a registry of its own. It must not hold a value that a caller chose: labels are the program's own words.

Rules come from policy, which an operator may extend; past `MAX_RULES` of them they are counted together as `other`.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

from lockgate.telemetry.names import Counted, Level, Timed

CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"
MAX_RULES: Final = 500
OTHER: Final = "other"

_COUNTERS: Final[dict[Counted, tuple[str, tuple[str, ...]]]] = {
    Counted.CALLS: (
        "Governed calls by the state they were answered with, or the code they were refused with.",
        ("outcome",),
    ),
    Counted.DECISIONS: ("Decisions by question and answer: allow, deny, or wait.", ("question", "answer")),
    Counted.DENIALS: ("Rules that denied, by name.", ("rule",)),
    Counted.REQUESTS_DENIED: ("Operations that a rule ended as denied; what a person rejected is not among them.", ()),
    Counted.SHADOW_DECISIONS: (
        "Decisions that the shadow policy made along, by question and what it would change.",
        ("question", "change"),
    ),
    Counted.SHADOW_DROPPED: ("Decisions for which the shadow policy was too busy.", ()),
    Counted.SHADOW_UNLOGGED: (
        "Differences of the shadow policy that were counted and not logged, since there were too many.",
        (),
    ),
    Counted.AUTHENTICATION_REFUSED: ("Tokens refused at a door, by RFC 6750 code.", ("door", "error")),
    Counted.AUDIT_ENTRIES: ("Audit entries recorded, by kind.", ("kind",)),
    Counted.ATTEMPTS: ("Attempts by phase and the state they came into.", ("phase", "state")),
    Counted.OPERATIONS_ENDED: ("Operations ended, by state.", ("state",)),
    Counted.POLICY_FAULTS: ("Decisions that the policy engine itself refused, by its rule: an alarm.", ("rule",)),
    Counted.POLICY_LOAD_FAILED: ("Looks at the policy's source that brought nothing usable.", ()),
    Counted.POLICY_COPY_FAILED: ("Good bundles of a server that could not be kept for a restart.", ()),
    Counted.TEARDOWN_UNPROVEN: ("Attempts whose sandboxes were not proven gone.", ()),
}
_TIMES: Final[dict[Timed, tuple[str, tuple[str, ...], tuple[float, ...]]]] = {
    Timed.CALL: ("From a call's arrival at the core to its durable record.", (), (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5)),
    Timed.DECISION: ("Deciding one question, by question.", ("question",), (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.25, 1)),
    Timed.LOOP_LAG: ("How late the event loop was for a timer.", (), (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)),
}  # fmt: skip
_LEVELS: Final[dict[Level, tuple[str, tuple[str, ...]]]] = {
    Level.QUEUE_DEPTH: ("Operations by state that have not ended: queued, leased, running, and so on.", ("state",)),
    Level.STORE_WAITING: ("Commands waiting for the store.", ()),
    Level.STORE_COMMITS: ("Transactions committed since the start, each with at least one fsync.", ()),
    Level.POLICY_READY: ("1 while a policy is in force that is not too old; 0: everything is denied.", ()),
    Level.POLICY_ERROR: ("1 while the newest that the policy's source has is not in force.", ()),
    Level.POLICY_RESUMED: (
        "1 while the policy in force is the kept copy of the last good bundle, and its server has brought none since the start.",
        (),
    ),
    Level.POLICY_AGE: ("Seconds since the policy in force was signed; 0 for one that says no time.", ()),
    Level.POLICY_INFO: ("Always 1; its labels are what is in force.", ("revision", "key", "sequence")),
    Level.LOOP_LAG_MAX: ("The longest lag of the event loop since it was last read.", ()),
}

disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """One process's numbers. Safe for several threads; counting takes about a microsecond."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._counters = {
            name: Counter(name.value, text, labels, registry=self._registry)
            for name, (text, labels) in _COUNTERS.items()
        }
        self._times = {
            name: Histogram(name.value, text, labels, buckets=buckets, registry=self._registry)
            for name, (text, labels, buckets) in _TIMES.items()
        }
        self._levels = {
            name: Gauge(name.value, text, labels, registry=self._registry) for name, (text, labels) in _LEVELS.items()
        }
        self._counted: dict[tuple[Counted, tuple[str, ...]], Counter] = {}
        self._timed: dict[tuple[Timed, tuple[str, ...]], Histogram] = {}
        self._rules: set[str] = set()

    def count(self, name: Counted, *labels: str) -> None:
        """Add one. `labels` in the order of the counter's declaration."""
        child = self._counted.get((name, labels))
        if child is None:
            parent = self._counters[name]
            child = self._counted[name, labels] = parent.labels(*labels) if labels else parent
        child.inc()

    def count_rule(self, rule: str) -> None:
        """Add one denial by `rule`."""
        if rule not in self._rules and len(self._rules) < MAX_RULES:
            self._rules.add(rule)
        self.count(Counted.DENIALS, rule if rule in self._rules else OTHER)

    def time(self, name: Timed, seconds: float, *labels: str) -> None:
        """Note one duration."""
        child = self._timed.get((name, labels))
        if child is None:
            parent = self._times[name]
            child = self._timed[name, labels] = parent.labels(*labels) if labels else parent
        child.observe(seconds)

    def level(self, name: Level, value: float, *labels: str) -> None:
        """Set a gauge to what it is now."""
        gauge = self._levels[name]
        (gauge.labels(*labels) if labels else gauge).set(value)

    def only(self, name: Level, value: float, *labels: str) -> None:
        """Set a gauge for these labels, and take away what it was for others."""
        self._levels[name].clear()
        self.level(name, value, *labels)

    def text(self) -> bytes:
        """Everything in the Prometheus text format."""
        return generate_latest(self._registry)
