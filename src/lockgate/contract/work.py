"""What a grant speaks of, in full: action, target and intent, and the inputs document the runner seals; digests bind each to the grant."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lockgate.contract.grant import Limits
from lockgate.contract.intent import Effect
from lockgate.contract.state import StateMark


@dataclass(frozen=True, slots=True)
class ActionSpec:
    """An action as the runner needs it. `entry` is what the driver runs (a runbook's task, a playbook); `variables` maps driver variables to
    argument names; `sensitive` names arguments that are references to a secret store."""

    name: str
    effect: Effect
    risk: str
    driver: str
    entry: str
    variables: dict[str, str]
    sensitive: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TargetSpec:
    """A target as the runner needs it. `source` names a source of the runner's configuration, never a path.
    `egress` are the destinations, as host:port, that its stages need; the runner's configuration says which of them they get."""

    name: str
    driver: str
    source: str
    environment: str
    region: str
    labels: dict[str, str]
    limits: Limits
    lock: str
    settings: dict[str, Any]
    egress: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Work:
    """Sent beside a grant; `intent` is the canonical intent document with the validated arguments."""

    action: ActionSpec
    target: TargetSpec
    intent: dict[str, Any]


@dataclass(frozen=True, slots=True)
class InputsDocument:
    """What a stage runs on; its canonical bytes hash to `inputs_sha256`. `snapshot_sha256` is the sealed source's digest.

    `providers`: the trusted builds the tool may use, digests by address and version. `state`: the version of the state that the runner keeps for the
    target, as the attempt found it; None where it keeps none (yet).
    """

    version: int
    driver: str
    entry: str
    variables: dict[str, Any]
    settings: dict[str, Any]
    snapshot_sha256: str
    tool_name: str
    tool_version: str
    tool_sha256: str
    job_sha256: str
    providers: dict[str, str] = field(default_factory=dict)
    state: StateMark | None = None
