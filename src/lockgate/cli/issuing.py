"""Makes tokens with the deployment's own issuer key, offline; it must not make a human's token outside dev."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lockgate.cli.exits import Exit
from lockgate.cli.home import gateway_settings, write_token
from lockgate.cli.problem import Problem

if TYPE_CHECKING:
    from lockgate.gateway.settings import GatewaySettings

DEV_TTL = 12 * 3600


@dataclass(frozen=True, slots=True)
class Wanted:
    """A token to be made. `ttl` is seconds."""

    subject: str
    human: bool = False
    roles: tuple[str, ...] = ()
    owner: str | None = None
    on_behalf_of: str | None = None
    ttl: int = 3600


DEV_TOKENS = {
    "agent": Wanted("agent-1", roles=("operator",), owner="alice", ttl=DEV_TTL),
    "alice": Wanted("alice", human=True, roles=("operator", "approver"), ttl=DEV_TTL),
    "bob": Wanted("bob", human=True, roles=("approver",), ttl=DEV_TTL),
    "admin": Wanted("admin", human=True, roles=("admin",), ttl=DEV_TTL),
}
"""Who exists on a laptop, by token file: an agent that alice owns, and three people. Alice may approve, but not what she or her agent asked."""


def issue(settings: GatewaySettings, wanted: Wanted) -> str:
    """A signed token. Raises Problem when there is no built-in issuer or the wish is not allowed."""
    from lockgate.gateway.app import builtin_issuer
    from lockgate.gateway.identity.issuer import TokenRequest
    from lockgate.gateway.identity.port import Audience

    issuer = builtin_issuer(settings)
    if issuer is None:
        raise Problem(
            Exit.REFUSED,
            "this deployment has no built-in issuer (keys.issuer is not set in gateway.yaml)",
            fix="get tokens from your identity provider, or set keys.issuer for agents' tokens",
        )
    request = TokenRequest(
        subject=wanted.subject,
        audience=Audience.HUMAN if wanted.human else Audience.AGENT,
        jti=secrets.token_urlsafe(18),
        ttl=wanted.ttl,
        owner=wanted.owner,
        on_behalf_of=wanted.on_behalf_of,
        roles=wanted.roles,
    )
    try:
        return issuer.issue(request, time.time())
    except ValueError as error:
        raise Problem(Exit.USAGE, str(error)) from None


def issue_dev_tokens(home: Path) -> dict[str, Path]:
    """Fresh tokens for everyone of DEV_TOKENS, and `human`, who is alice; name to file."""
    settings = gateway_settings(home)
    made = {name: write_token(home, name, issue(settings, wanted)) for name, wanted in DEV_TOKENS.items()}
    made["human"] = write_token(home, "human", issue(settings, DEV_TOKENS["alice"]))
    return made
