"""From verified claims to a principal: the rules of TRUST §6, one check after the other; it must not look at signatures or revocations.

Who a caller is follows from the door. At /mcp every token is an agent's:

- with `act` (RFC 8693): the agent is `act.sub`, on behalf of `sub`;
- without it: the agent is `sub`, on behalf of `sub` (a human's own token in an agent's hands), so that this human cannot approve what it asks;
- a client's own token (`client_id` equals `sub`, RFC 9068 §2.2): the agent is `sub`, on behalf of nobody; without an owner it obtains no approval.

`owner` comes only from the claim that the issuer's settings name. All of them are ids, `issuer#subject`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from lockgate.contract.intent import Principal, PrincipalKind
from lockgate.gateway.identity.port import SCOPES, Audience, Unauthenticated
from lockgate.gateway.identity.settings import IdentitySettings, IssuerSettings
from lockgate.gateway.identity.token import Parts, invalid

MAX_NAME: Final = 256
MAX_AUDIENCES: Final = 16
MAX_ROLES: Final = 256
DEV_CLAIM: Final = "lockgate_dev"


@dataclass(frozen=True, slots=True)
class Verified:
    """A principal with the times that are looked at again on every use. `issued_at` and `ends_at` are Unix seconds, leeway included."""

    principal: Principal
    issued_at: float
    ends_at: float


def read_claims(
    parts: Parts, issuer: IssuerSettings, settings: IdentitySettings, audience: Audience, now: float
) -> Verified:
    """The principal of verified claims at a door. Raises Unauthenticated."""
    claims = parts.claims
    issued_at, expires_at = _check_times(claims, issuer, now)
    wanted = _check_audience(claims, settings, audience)
    _check_scope(claims, audience)
    _check_dev(claims, issuer, settings, audience)
    subject = _name(claims.get("sub"), "sub")
    human = audience is Audience.HUMAN
    # In production the built-in issuer knows no human (`_check_dev`), so a name of its own would stand for nobody who can vote.
    has_people = settings.dev or not issuer.builtin
    who = _human(claims, issuer, now) if human else _agent(claims, issuer, subject, has_people=has_people)
    principal = Principal(
        kind=PrincipalKind.HUMAN if human else PrincipalKind.AGENT,
        issuer=issuer.issuer,
        subject=who.subject or subject,
        tenant=_tenant(claims, issuer),
        owner=who.owner,
        on_behalf_of=who.on_behalf_of,
        roles=_roles(claims, issuer),
        audience=wanted,
        token_id=_name(claims["jti"], "jti") if "jti" in claims else _digest_id(parts, issuer),
        auth_time=who.auth_time,
        expires_at=int(expires_at),
    )
    return Verified(principal, issued_at, expires_at + issuer.leeway)


def check_auth_age(principal: Principal, settings: IdentitySettings, leeway: int, now: float) -> None:
    """A human must have signed in recently; looked at on every use. Raises Unauthenticated."""
    if principal.kind is PrincipalKind.HUMAN and now - (principal.auth_time or 0) > settings.human_auth_age + leeway:
        raise invalid(f"auth_time: the sign-in is older than {settings.human_auth_age} seconds; sign in again")


@dataclass(frozen=True, slots=True)
class _Who:
    subject: str | None = None
    owner: str | None = None
    on_behalf_of: str | None = None
    auth_time: int | None = None


def _check_times(claims: dict[str, Any], issuer: IssuerSettings, now: float) -> tuple[float, float]:
    issued_at, expires_at = _seconds(claims, "iat"), _seconds(claims, "exp")
    if now >= expires_at + issuer.leeway:
        raise invalid("exp: the token has expired; get a new one")
    if issued_at > now + issuer.leeway:
        raise invalid("iat: the token is issued in the future; check the clocks")
    if "nbf" in claims and _seconds(claims, "nbf") > now + issuer.leeway:
        raise invalid("nbf: the token is not valid yet")
    if not 0 < expires_at - issued_at <= issuer.max_lifetime:
        raise invalid(f"exp: the token lives longer than the {issuer.max_lifetime} seconds allowed for its issuer")
    return issued_at, expires_at


def _check_audience(claims: dict[str, Any], settings: IdentitySettings, audience: Audience) -> str:
    value = claims.get("aud")
    audiences = [value] if isinstance(value, str) else value
    if not isinstance(audiences, list) or not 0 < len(audiences) <= MAX_AUDIENCES:
        raise invalid("aud: must be one audience or a short list of them")
    wanted = settings.agent_audience if audience is Audience.AGENT else settings.human_audience
    if audience is Audience.HUMAN and settings.agent_audience in audiences:
        raise invalid("aud: a token that agents' tools accept is never a human's; get one for this audience alone")
    if wanted not in audiences:
        raise invalid("aud: the token is for another audience")
    return wanted


def _check_scope(claims: dict[str, Any], audience: Audience) -> None:
    """A token that lists scopes is good for those alone; one that lists none was given for its audience as a whole (ADR 17)."""
    if "scope" not in claims:
        return
    listed = claims["scope"]
    if not isinstance(listed, str):
        raise invalid("scope: must be one text of scopes with spaces between them")
    if SCOPES[audience] not in listed.split(" "):
        raise Unauthenticated("insufficient_scope", f"scope: the token lists others than {SCOPES[audience]}")


def _check_dev(claims: dict[str, Any], issuer: IssuerSettings, settings: IdentitySettings, audience: Audience) -> None:
    if settings.dev:
        return
    if DEV_CLAIM in claims:
        raise invalid("this is a development token; production refuses it")
    if issuer.builtin and audience is Audience.HUMAN:
        raise invalid("the built-in issuer makes no human tokens in production; sign in with your identity provider")


def _human(claims: dict[str, Any], issuer: IssuerSettings, now: float) -> _Who:
    if "act" in claims:
        raise invalid("act: someone acting for a human is not that human")
    auth_time = _seconds(claims, "auth_time")
    if auth_time > now + issuer.leeway:
        raise invalid("auth_time: the sign-in is in the future; check the clocks")
    return _Who(auth_time=int(auth_time))


def _agent(claims: dict[str, Any], issuer: IssuerSettings, subject: str, *, has_people: bool) -> _Who:
    owner = _owner(claims, issuer, has_people=has_people)
    behind = f"{issuer.issuer}#{subject}"
    alone = "act" not in claims and claims.get("client_id") == subject
    if not alone and not has_people:
        raise invalid("sub: the built-in issuer knows no humans in production; name whom the agent serves as its owner")
    if "act" not in claims:
        return _Who(owner=owner, on_behalf_of=None if alone else behind)
    act = claims["act"]
    if not isinstance(act, dict):
        raise invalid("act: must be an object with sub")
    if "act" in act:
        raise invalid("act: chains of delegation are not accepted; only one actor")
    if act.get("iss", issuer.issuer) != issuer.issuer:
        raise invalid("act: the actor must be of the token's own issuer")
    return _Who(subject=_name(act.get("sub"), "act.sub"), owner=owner, on_behalf_of=behind)


def _owner(claims: dict[str, Any], issuer: IssuerSettings, *, has_people: bool) -> str | None:
    """An owner under another name than the one that human signs in by would let that human approve their own (invariant 5)."""
    claim = issuer.owner_claim
    if claim is None or claims.get(claim) is None:
        return None
    value = _name(claims[claim], claim)
    for other in (*((issuer.issuer,) if has_people else ()), *issuer.owner_issuers):
        if value.startswith(f"{other}#") and len(value) > len(other) + 1:
            return value
    if "#" in value:
        raise invalid(f"{claim}: names a human of an issuer that this one may not speak of; see its owner_issuers")
    if not has_people:
        raise invalid(f"{claim}: must be issuer#subject, as that human signs in; this issuer knows no humans")
    return f"{issuer.issuer}#{value}"


def _tenant(claims: dict[str, Any], issuer: IssuerSettings) -> str:
    if issuer.tenant_claim is None:
        return issuer.tenant
    value = claims.get(issuer.tenant_claim)
    if not isinstance(value, str) or value not in issuer.tenants:
        raise invalid(f"{issuer.tenant_claim}: names no tenant that this issuer may speak for")
    return value


def _roles(claims: dict[str, Any], issuer: IssuerSettings) -> tuple[str, ...]:
    if not issuer.roles:
        return ()
    value: Any = claims
    for name in issuer.roles_claim:
        value = value.get(name) if isinstance(value, dict) else None
    if isinstance(value, str):
        value = value.split()
    if not isinstance(value, list) or len(value) > MAX_ROLES:
        return ()
    return tuple(sorted({issuer.roles[role] for role in value if isinstance(role, str) and role in issuer.roles}))


def _digest_id(parts: Parts, issuer: IssuerSettings) -> str:
    if issuer.builtin:
        raise invalid("jti: is missing")
    return parts.digest


def _seconds(claims: dict[str, Any], claim: str) -> float:
    value = claims.get(claim)
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise invalid(f"{claim}: must be a time in seconds" if claim in claims else f"{claim}: is missing")
    return value


def _name(value: Any, claim: str) -> str:
    if (
        not isinstance(value, str)
        or not 0 < len(value) <= MAX_NAME
        or not value.isprintable()
        or value != value.strip()
    ):
        raise invalid(f"{claim}: must be 1 to {MAX_NAME} printable characters")
    return value
