"""Which issuers are believed, and in what; it must refuse settings under which an agent could pass for a human."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from lockgate.gateway.identity.jwks import SUPPORTED_ALGORITHMS, KeySource

DEFAULT_ALGORITHMS: Final = frozenset({"EdDSA", "Ed25519", "ES256", "RS256"})
DEFAULT_TOKEN_TYPES: Final = frozenset({"at+jwt", "jwt"})
MAX_LEEWAY: Final = 60
MAX_LIFETIME: Final = 366 * 24 * 3600


class IdentitySettingsError(ValueError):
    """The identity settings were refused; `field` names the faulty one."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


@dataclass(frozen=True, slots=True)
class IssuerSettings:
    """One issuer. Durations are seconds.

    `tenant` is the issuer's own; or `tenant_claim` names a claim whose value must be one of `tenants`. `roles` maps token roles (found at
    `roles_claim`, a path of claim names) to Lockgate roles: an unmapped role is none. `owner_claim` names the claim of an agent's owner: a
    subject of this issuer, or `issuer#subject` of one in `owner_issuers`. `token_types` are lower-case `typ` headers ("" allows none).
    """

    issuer: str
    keys: KeySource
    algorithms: frozenset[str] = DEFAULT_ALGORITHMS
    token_types: frozenset[str] = DEFAULT_TOKEN_TYPES
    leeway: int = 30
    max_lifetime: int = 24 * 3600
    tenant: str = "default"
    tenant_claim: str | None = None
    tenants: tuple[str, ...] = ()
    roles: Mapping[str, str] = field(default_factory=dict)
    roles_claim: tuple[str, ...] = ("roles",)
    owner_claim: str | None = None
    owner_issuers: tuple[str, ...] = ()
    builtin: bool = False

    def __post_init__(self) -> None:
        """Refuse what could be believed wrongly. Raises IdentitySettingsError."""
        where = f"issuers[{self.issuer[:80]}]"
        if not self.issuer or "#" in self.issuer or not self.issuer.isprintable() or len(self.issuer) > 512:
            raise IdentitySettingsError(
                where, "an issuer is 1 to 512 printable characters without #, which ends it in a principal's id"
            )
        if not self.algorithms or not self.algorithms <= SUPPORTED_ALGORITHMS:
            known = ", ".join(sorted(SUPPORTED_ALGORITHMS))
            raise IdentitySettingsError(
                f"{where}.algorithms", f"must be some of {known}; `none` and shared secrets never are"
            )
        if not 0 <= self.leeway <= MAX_LEEWAY:
            raise IdentitySettingsError(f"{where}.leeway", f"must be 0 to {MAX_LEEWAY} seconds")
        if not 0 < self.max_lifetime <= MAX_LIFETIME:
            raise IdentitySettingsError(f"{where}.max_lifetime", f"must be 1 to {MAX_LIFETIME} seconds")
        if bool(self.tenant_claim) != bool(self.tenants):
            raise IdentitySettingsError(
                f"{where}.tenants", "tenant_claim and the tenants it may name are given together or not at all"
            )
        if not self.tenant:
            raise IdentitySettingsError(f"{where}.tenant", "must not be empty")
        if not self.roles_claim:
            raise IdentitySettingsError(f"{where}.roles_claim", "must name at least one claim")


@dataclass(frozen=True, slots=True)
class IdentitySettings:
    """The deployment's identity rules. `agent_audience` is the resource URL of /mcp, `human_audience` of /api; they must differ.

    `human_auth_age` is how long ago (seconds) a human may have signed in. `dev` is the throw-away stamp: without it, dev tokens and human
    tokens of the built-in issuer are refused.
    """

    agent_audience: str
    human_audience: str
    issuers: tuple[IssuerSettings, ...]
    dev: bool = False
    human_auth_age: int = 12 * 3600
    cache_size: int = 10_000

    def __post_init__(self) -> None:
        """Raises IdentitySettingsError."""
        for name in ("agent_audience", "human_audience"):
            if not getattr(self, name).strip():
                raise IdentitySettingsError(name, "must not be empty")
        if _comparable(self.agent_audience) == _comparable(self.human_audience):
            raise IdentitySettingsError(
                "human_audience", "must differ from agent_audience: an agent's token must never pass at /api"
            )
        names = [issuer.issuer for issuer in self.issuers]
        for name in names:
            if names.count(name) > 1:
                raise IdentitySettingsError("issuers", f"{name[:80]} stands twice")
        if sum(issuer.builtin for issuer in self.issuers) > 1:
            raise IdentitySettingsError("issuers", "only one can be the built-in issuer")
        if not 0 < self.human_auth_age <= 7 * 24 * 3600:
            raise IdentitySettingsError("human_auth_age", "must be 1 second to 7 days")
        if not 0 < self.cache_size <= 1_000_000:
            raise IdentitySettingsError("cache_size", "must be 1 to 1000000 tokens")


def _comparable(audience: str) -> str:
    parts = urlsplit(audience.strip().lower())
    return (
        parts._replace(path=parts.path.rstrip("/"), query="", fragment="").geturl()
        if parts.scheme
        else audience.strip().lower()
    )
