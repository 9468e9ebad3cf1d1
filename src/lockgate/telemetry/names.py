"""The names of everything that is counted, timed or traced; they are stable, and no other names may be used."""

from __future__ import annotations

from enum import StrEnum


class Counted(StrEnum):
    """Counters. What they count, with their labels, stands in `telemetry.metrics`."""

    CALLS = "lockgate_calls"
    DECISIONS = "lockgate_decisions"
    DENIALS = "lockgate_denials"
    REQUESTS_DENIED = "lockgate_requests_denied"
    SHADOW_DECISIONS = "lockgate_shadow_decisions"
    SHADOW_DROPPED = "lockgate_shadow_dropped"
    SHADOW_UNLOGGED = "lockgate_shadow_unlogged"
    AUTHENTICATION_REFUSED = "lockgate_authentication_refused"
    AUDIT_ENTRIES = "lockgate_audit_entries"
    ATTEMPTS = "lockgate_attempts"
    OPERATIONS_ENDED = "lockgate_operations_ended"
    POLICY_FAULTS = "lockgate_policy_faults"
    TEARDOWN_UNPROVEN = "lockgate_teardown_unproven"
    POLICY_LOAD_FAILED = "lockgate_policy_load_failures"
    POLICY_COPY_FAILED = "lockgate_policy_copy_failures"


class Timed(StrEnum):
    """Histograms, in seconds."""

    CALL = "lockgate_call_seconds"
    DECISION = "lockgate_decision_seconds"
    LOOP_LAG = "lockgate_loop_lag_seconds"


class Level(StrEnum):
    """Gauges, read when they are asked for."""

    QUEUE_DEPTH = "lockgate_queue_depth"
    STORE_WAITING = "lockgate_store_waiting"
    STORE_COMMITS = "lockgate_store_commits"
    LOOP_LAG_MAX = "lockgate_loop_lag_max_seconds"
    POLICY_READY = "lockgate_policy_ready"
    POLICY_ERROR = "lockgate_policy_error"
    POLICY_RESUMED = "lockgate_policy_resumed"
    POLICY_AGE = "lockgate_policy_age_seconds"
    POLICY_INFO = "lockgate_policy_info"


class SpanName(StrEnum):
    """Spans."""

    CALL = "lockgate.call"
    DECISION = "lockgate.decision"
