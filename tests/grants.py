"""Throw-away keys, and a grant of a small deployment to change one field of; they must not stand in for what a gateway itself would sign."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lockgate.contract.grant import Grant, GrantedPlan, GrantedPolicy, Limits
from lockgate.contract.intent import Phase
from lockgate.contract.keyset import KeyEntry, KeyRole, keyid_of

DIGEST = "sha256:" + "0" * 64
LIMITS = Limits(1 << 28, 64, 60, 60, 256, 1 << 26, 1 << 28, 1 << 16)
GRANT = Grant(
    version=1,
    deployment="test",
    dev=True,
    tenant="default",
    operation="op_1",
    attempt="at_1",
    phase=Phase.APPLY,
    fence=7,
    lease="le_1",
    intent_sha256=DIGEST,
    action_sha256=DIGEST,
    target_sha256=DIGEST,
    inputs_sha256=DIGEST,
    plan=GrantedPlan(DIGEST, DIGEST, "op_1"),
    policy=GrantedPolicy(DIGEST, "dec_1"),
    approvals=(),
    region="local",
    runner="runner-1",
    sandbox="bubblewrap",
    limits=LIMITS,
    egress=(),
    credential_scope="write",
    issued_at=1,
    not_after=2,
)


def planning(**changes: Any) -> Grant:
    """A grant to plan: nothing is planned yet, and nothing may be written."""
    return replace(GRANT, phase=Phase.PLAN, inputs_sha256=None, plan=None, credential_scope="read", **changes)


class Key:
    """An Ed25519 key as an EnvelopeSigner: of that name, the same every time, or a new one."""

    def __init__(self, name: str | None = None) -> None:
        seed = hashlib.sha256(name.encode()).digest() if name is not None else None
        self._key = Ed25519PrivateKey.from_private_bytes(seed) if seed else Ed25519PrivateKey.generate()
        self.public = self._key.public_key().public_bytes_raw()
        self.keyid = keyid_of(self.public)

    def sign(self, message: bytes) -> bytes:
        """The signature, 64 bytes."""
        return self._key.sign(message)

    def entry(self, role: KeyRole, holder: str | None = None, region: str | None = None) -> KeyEntry:
        """As a keyset names it; what has a holder is of the tenant `default`."""
        public, tenant = base64.b64encode(self.public).decode(), "default" if holder else None
        return KeyEntry(self.keyid, role, public, holder, region, tenant)
