"""An attempt's credentials: asked of the broker, journalled before and after, revoked in the end. Values go into sandboxes and the redactor only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from lockgate.contract.evidence import CredentialReceipt
from lockgate.contract.redaction import Redactor
from lockgate.runner.acceptance import Accepted
from lockgate.runner.credentials.port import (
    BrokerRefused,
    BrokerUnavailable,
    Credential,
    CredentialRequest,
    PermitShown,
)
from lockgate.runner.link import AttemptLink
from lockgate.runner.parts import Parts
from lockgate.runner.statements import Evidence


@dataclass(slots=True)
class AttemptSecrets:
    """What one attempt holds. Write credentials exist only between a committed start and the end of apply (invariant 8)."""

    parts: Parts
    accepted: Accepted
    link: AttemptLink
    evidence: Evidence
    reading: Credential | None = None
    _known: list[str] = field(default_factory=list, repr=False)

    @property
    def redactor(self) -> Redactor:
        """Masks every secret this attempt was ever given."""
        return Redactor(self._known)

    async def open_reading(self) -> None:
        """The read credential for plan, check, verify and read stages, where target and grant have one. Raises BrokerRefused, BrokerUnavailable."""
        settings = self.accepted.target.credential
        if settings.read and self.accepted.grant.credential_scope != "none":
            self.reading = await self._issue("read", dict(settings.read), None)

    async def open_writing(self, permit: str, received_at: int) -> Credential | None:
        """The write credential, against the permit only. `received_at`: CLOCK_BOOTTIME ms. Raises BrokerRefused, BrokerUnavailable."""
        settings = self.accepted.target.credential
        if not settings.write or self.accepted.grant.credential_scope != "write":
            return None
        shown = PermitShown(permit.encode(), self.parts.clock() - received_at)
        return await self._issue("write", dict(settings.write), shown)

    async def _issue(
        self, scope: Literal["read", "write"], references: dict[str, str], permit: PermitShown | None
    ) -> Credential:
        grant, settings = self.accepted.grant, self.accepted.target.credential
        request = CredentialRequest(
            scope=scope,
            target=self.accepted.work.target.name,
            attempt=grant.attempt,
            fence=grant.fence,
            grant_sha256=self.accepted.grant_sha256,
            references=references,
            prefixes=settings.prefixes,
            ttl=grant.limits.wall_seconds,
            permit=permit,
            read_is_read_only=settings.read_is_read_only,
        )
        # The intent is durable before a credential can exist, so that another runner of the region knows what to look for.
        self.parts.journal.credential_intended(grant.attempt, scope)
        await self.link.credential("intended", scope, None, None)
        try:
            credential = await self.parts.broker.issue(request)
        except (BrokerRefused, BrokerUnavailable):
            self.parts.journal.credential_not_issued(grant.attempt, scope)
            raise
        self._known.extend(credential.secrets)
        try:
            self.parts.journal.credential_issued(grant.attempt, credential.accessor, scope)
            await self.link.credential("issued", scope, credential.accessor, credential.expires_in)
        except BaseException:
            # Whoever asked never gets it (the line failed, or the attempt was stopped): nobody else would revoke it, nor the receipt name it.
            await self.close(credential, scope)
            raise
        return credential

    async def close(self, credential: Credential | None, scope: str) -> None:
        """Revoke, and say so; idempotent: what was not revoked is tried again, what was is left alone."""
        if credential is None:
            return
        before = [item for item in self.evidence.credentials if item.accessor == credential.accessor]
        if any(item.revoked for item in before):
            return
        gone = await self.parts.broker.revoke(credential.accessor)
        others = [item for item in self.evidence.credentials if item.accessor != credential.accessor]
        self.evidence.credentials[:] = [*others, CredentialReceipt(credential.accessor, scope, gone)]
        if gone:
            self.parts.journal.credential_revoked(credential.accessor)
        await self.link.try_credential("revoked", scope, credential.accessor)

    async def close_reading(self) -> None:
        """Revoke the read credential."""
        held, self.reading = self.reading, None
        await self.close(held, "read")
