"""The broker that has nothing to give, for targets that need no credential; it must not look as if it enforced anything."""

from __future__ import annotations

from lockgate.runner.credentials.port import BrokerRefused, Credential, CredentialRequest, Trust


class NoBroker:
    """Issues nothing; a request that names a reference is refused."""

    name = "none"
    trust: Trust = "runner-trusted"
    read_scope_enforced = False

    async def issue(self, request: CredentialRequest) -> Credential:
        """Always refuses."""
        raise BrokerRefused(
            f"broker: none is configured, and the target {request.target[:100]!r} asks for a {request.scope} credential"
        )

    async def revoke(self, accessor: str) -> bool:
        """There is nothing to revoke."""
        return True

    async def revoke_unheard(self, attempt: str, scope: str) -> bool:
        """Nothing was ever issued."""
        return True
