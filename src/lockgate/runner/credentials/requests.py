"""What an attempt may ask a broker for, from its grant and the runner's own configuration; it must not take a reference from the gateway."""

from __future__ import annotations

from lockgate.contract.grant import Grant
from lockgate.runner.credentials.port import CredentialRequest, PermitShown
from lockgate.runner.settings import CredentialSettings


def write_request(
    target: str, settings: CredentialSettings, grant: Grant, grant_sha256: str, permit: PermitShown
) -> CredentialRequest:
    """For the apply stage of an attempt that was started: bound to exactly this attempt by its permit."""
    return CredentialRequest(
        scope="write",
        target=target,
        attempt=grant.attempt,
        fence=grant.fence,
        grant_sha256=grant_sha256,
        references=settings.write,
        prefixes=settings.prefixes,
        ttl=grant.limits.wall_seconds,
        permit=permit,
    )


def read_request(target: str, settings: CredentialSettings, grant: Grant, grant_sha256: str) -> CredentialRequest:
    """For any other stage."""
    return CredentialRequest(
        scope="read",
        target=target,
        attempt=grant.attempt,
        fence=grant.fence,
        grant_sha256=grant_sha256,
        references=settings.read,
        prefixes=settings.prefixes,
        ttl=grant.limits.wall_seconds,
        read_is_read_only=settings.read_is_read_only,
    )
