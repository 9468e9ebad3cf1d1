"""Who and what the invariants' tests are about: keys, principals, a catalog, plans. Nothing here decides or keeps anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.grants import Key

from lockgate.contract.canonical import canonical
from lockgate.contract.codec import to_document
from lockgate.contract.drivers import declarations
from lockgate.contract.intent import Principal, PrincipalKind
from lockgate.contract.keyset import PAYLOAD_TYPE, KeyRole, Keyset
from lockgate.contract.plan import Fidelity, PlanDocument
from lockgate.contract.signed import write_signed
from lockgate.gateway.catalog.load import load_texts
from lockgate.gateway.catalog.model import Catalog
from lockgate.job.drivers.port import resource_change

NOW = 1_800_000_000_000
ISSUER = "https://idp.example"
INPUTS = "sha256:" + "1" * 64
OTHER_INPUTS = "sha256:" + "2" * 64
SNAPSHOT = "sha256:" + "3" * 64
REASON = "scale for the launch"
TENANT = "default"

CATALOG = """
apiVersion: lockgate/v1
kind: Action
metadata: {name: set_replicas}
spec:
  title: Set replicas
  description: Sets how many copies of a service run.
  effect: change
  risk: low
  idempotent: true
  targets: {labels: {tier: web}}
  driver: runbook
  entry: set-replicas
  arguments:
    type: object
    required: [replicas]
    properties: {replicas: {type: integer, minimum: 0, maximum: 20}}
  variables: {replicas: replicas}
---
apiVersion: lockgate/v1
kind: Action
metadata: {name: service_status}
spec:
  title: Service status
  description: Says how many copies of a service run.
  effect: read
  risk: low
  targets: {labels: {tier: web}}
  driver: runbook
  entry: status
  arguments: {type: object, properties: {}}
  variables: {}
---
apiVersion: lockgate/v1
kind: Target
metadata: {name: web-dev, labels: {tier: web}}
spec: {driver: runbook, source: service, environment: dev, region: local, limits: {wall_seconds: 60}, settings: {state_dir: /target}}
---
apiVersion: lockgate/v1
kind: Target
metadata: {name: web-prod, labels: {tier: web}}
spec: {driver: runbook, source: service, environment: production, region: local, limits: {wall_seconds: 60}, settings: {state_dir: /target}}
"""


@dataclass
class Clock:
    """The gateway's clock: Unix ms, moved by the test."""

    now: int = NOW

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += int(seconds * 1000)


@dataclass
class Keys:
    """A deployment's keys, with runners `runner-1` and `runner-2` of region `local` and `far-1` of region `far`."""

    root: Key = field(default_factory=Key)
    grant: Key = field(default_factory=Key)
    log: Key = field(default_factory=Key)
    runners: dict[str, tuple[str, Key]] = field(
        default_factory=lambda: {"runner-1": ("local", Key()), "runner-2": ("local", Key()), "far-1": ("far", Key())}
    )

    @property
    def keyset(self) -> Keyset:
        entries = [self.grant.entry(KeyRole.GRANT), self.log.entry(KeyRole.LOG)]
        entries += [key.entry(KeyRole.RUNNER, name, region) for name, (region, key) in self.runners.items()]
        return Keyset(1, "test", True, 0, 1 << 52, tuple(entries))

    @property
    def keyset_envelope(self) -> bytes:
        return write_signed(self.keyset, PAYLOAD_TYPE, self.root)


@dataclass
class Shelf:
    """A catalog that a test may replace."""

    current: Catalog


def catalog(text: str = CATALOG) -> Catalog:
    return load_texts({"all.yaml": text.encode()}, declarations())


def agent(
    subject: str = "bot",
    *,
    on_behalf_of: str | None = ISSUER + "#alice",
    owner: str | None = None,
    roles: tuple[str, ...] = ("operator",),
    token: str | None = None,
) -> Principal:
    """An agent, on behalf of alice unless said otherwise."""
    return Principal(
        kind=PrincipalKind.AGENT,
        issuer=ISSUER,
        subject=subject,
        tenant=TENANT,
        owner=owner,
        on_behalf_of=on_behalf_of,
        roles=roles,
        audience="https://gateway.example/mcp",
        token_id=token or f"token-of-{subject}",
        auth_time=None,
        expires_at=NOW // 1000 + 1_000_000,
    )


def human(subject: str, *roles: str, issuer: str = ISSUER, tenant: str = TENANT) -> Principal:
    """A human who has just signed in; an approver unless other roles are named."""
    return Principal(
        kind=PrincipalKind.HUMAN,
        issuer=issuer,
        subject=subject,
        tenant=tenant,
        owner=None,
        on_behalf_of=None,
        roles=roles or ("approver",),
        audience="https://gateway.example/api",
        token_id=f"token-of-{subject}",
        auth_time=NOW // 1000 - 60,
        expires_at=NOW // 1000 + 1_000_000,
    )


def plan_bytes(*actions: str, inputs: str = INPUTS, incomplete: Sequence[str] = (), value: int = 3) -> bytes:
    """A canonical plan of one change for each of `actions` (default: one update); `plan_bytes("no-op")` changes nothing."""
    changes = tuple(
        resource_change(f"service.web{n}", "service_replicas", f"web{n}", "lockgate/runbook", _change(action, value))
        for n, action in enumerate(actions or ("update",))
    )
    document = PlanDocument(1, "runbook", Fidelity.PREDICTED, inputs, changes, tuple(incomplete), (), ())
    return canonical(to_document(document))


def _change(action: str, value: int) -> dict[str, Any]:
    return {"actions": [action], "before": {"replicas": 1}, "after": {"replicas": value}}


EMPTY = plan_bytes("no-op")
