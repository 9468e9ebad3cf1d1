"""The contract suite of the `IdentityVerifier` port: subclass it, make tokens of your own kind, and pytest holds your verifier to TRUST §6."""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import StrEnum

from lockgate.contract.intent import Principal, PrincipalKind
from lockgate.gateway.identity.port import Audience, IdentityVerifier, RevocationView, Unauthenticated

NOW = 1_700_000_000.0
"""The moment of every check, in Unix seconds."""

LIFETIME = 600
"""Every good token ends this many seconds after NOW."""


class TokenCase(StrEnum):
    """What the suite asks your mint for. All are for subject `alice` and valid but for what the name says."""

    AGENT = "agent"
    HUMAN = "human"
    DELEGATED_AGENT = "delegated_agent"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    OTHER_AUDIENCE = "other_audience"
    BOTH_AUDIENCES = "both_audiences"
    UNSIGNED = "unsigned"
    FORGED = "forged"
    FOREIGN_ISSUER = "foreign_issuer"
    HUMAN_WITH_ACTOR = "human_with_actor"
    HUMAN_WITHOUT_AUTH_TIME = "human_without_auth_time"
    HUMAN_SIGNED_IN_LONG_AGO = "human_signed_in_long_ago"
    OTHER_TENANT = "other_tenant"


class RevokedSet(RevocationView):
    """Revocations held in sets; the suite adds to them between two verifications."""

    def __init__(self) -> None:
        self.tokens: set[str] = set()
        self.principals: dict[str, int] = {}

    def is_revoked(self, token_id: str, principal_id: str, issued_at: int) -> bool:
        """As the gateway's: `issued_at` and the values of `principals` are Unix ms."""
        return token_id in self.tokens or issued_at <= self.principals.get(principal_id, -1)


class IdentityVerifierContract(ABC):
    """Implement `verifier` and `mint` in a subclass whose name begins with `Test`. For DELEGATED_AGENT the actor is `bot`."""

    @abstractmethod
    def verifier(self, revocations: RevocationView) -> IdentityVerifier:
        """A fresh verifier of a production deployment with the one tenant `default`."""

    @abstractmethod
    def mint(self, case: TokenCase) -> str:
        """A token for a case, as seen at NOW."""

    def _verify(self, case: TokenCase, audience: Audience, now: float = NOW) -> Principal:
        return self.verifier(RevokedSet()).verify(self.mint(case), audience=audience, now=now)

    def _refused(self, case: TokenCase, audience: Audience) -> None:
        _refuses(self.verifier(RevokedSet()), self.mint(case), audience, NOW)

    def test_a_token_at_the_agents_door_is_an_agent_on_behalf_of_its_subject(self) -> None:
        """TRUST §6."""
        principal = self._verify(TokenCase.AGENT, Audience.AGENT)
        _holds(principal.kind is PrincipalKind.AGENT, "kind must be agent")
        _holds(principal.on_behalf_of == f"{principal.issuer}#alice", "on_behalf_of must be the subject")
        _holds(principal.tenant == "default", "the tenant comes from the settings")
        _holds(bool(principal.token_id), "a token must have an id by which it can be revoked")

    def test_a_delegated_agent_is_its_actor_on_behalf_of_the_subject(self) -> None:
        """RFC 8693 `act`."""
        principal = self._verify(TokenCase.DELEGATED_AGENT, Audience.AGENT)
        _holds(principal.subject == "bot", "the agent is the actor")
        _holds(principal.on_behalf_of == f"{principal.issuer}#alice", "on_behalf_of must be the subject")

    def test_a_human_is_one_only_at_the_humans_door(self) -> None:
        """TRUST §6."""
        principal = self._verify(TokenCase.HUMAN, Audience.HUMAN)
        _holds(
            principal.kind is PrincipalKind.HUMAN and principal.auth_time is not None,
            "kind must be human, with auth_time",
        )
        self._refused(TokenCase.HUMAN, Audience.AGENT)
        self._refused(TokenCase.AGENT, Audience.HUMAN)

    def test_a_token_that_agents_could_use_is_never_a_humans(self) -> None:
        """A token with both audiences."""
        self._refused(TokenCase.BOTH_AUDIENCES, Audience.HUMAN)

    def test_every_bad_token_is_refused_at_the_agents_door(self) -> None:
        """Expiry, time, audience, signature, issuer, tenant."""
        for case in (
            TokenCase.EXPIRED,
            TokenCase.NOT_YET_VALID,
            TokenCase.OTHER_AUDIENCE,
            TokenCase.UNSIGNED,
            TokenCase.FORGED,
            TokenCase.FOREIGN_ISSUER,
            TokenCase.OTHER_TENANT,
        ):
            self._refused(case, Audience.AGENT)

    def test_a_human_needs_a_recent_sign_in_and_nobody_acts_for_one(self) -> None:
        """`act` and `auth_time`."""
        for case in (
            TokenCase.HUMAN_WITH_ACTOR,
            TokenCase.HUMAN_WITHOUT_AUTH_TIME,
            TokenCase.HUMAN_SIGNED_IN_LONG_AGO,
        ):
            self._refused(case, Audience.HUMAN)

    def test_a_token_verified_before_is_refused_once_it_has_expired(self) -> None:
        """A cache must not outlive the token."""
        verifier, token = self.verifier(RevokedSet()), self.mint(TokenCase.AGENT)
        verifier.verify(token, audience=Audience.AGENT, now=NOW)
        _refuses(verifier, token, Audience.AGENT, NOW + LIFETIME + 61)

    def test_a_token_verified_before_is_refused_once_it_is_revoked(self) -> None:
        """Invariant 14, by token and by principal; a cache must not answer for a revoked one."""
        for by_token in (True, False):
            revocations = RevokedSet()
            verifier, token = self.verifier(revocations), self.mint(TokenCase.AGENT)
            principal = verifier.verify(token, audience=Audience.AGENT, now=NOW)
            if by_token:
                revocations.tokens.add(principal.token_id)
            else:
                revocations.principals[principal.id] = int(NOW * 1000)
            _refuses(verifier, token, Audience.AGENT, NOW)

    def test_a_token_verified_at_one_door_is_not_thereby_good_at_the_other(self) -> None:
        """The cache knows the door."""
        verifier, token = self.verifier(RevokedSet()), self.mint(TokenCase.AGENT)
        verifier.verify(token, audience=Audience.AGENT, now=NOW)
        _refuses(verifier, token, Audience.HUMAN, NOW)

    def test_nonsense_is_refused(self) -> None:
        """Empty, huge, no token at all."""
        verifier = self.verifier(RevokedSet())
        for token in ("", "x", "a.b.c", "." * 10_000, "a" * 100_000, "\ud800.x.y", "é.é.é"):
            _refuses(verifier, token, Audience.AGENT, NOW)


def _holds(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)


def _refuses(verifier: IdentityVerifier, token: str, audience: Audience, now: float) -> None:
    try:
        principal = verifier.verify(token, audience=audience, now=now)
    except Unauthenticated as refused:
        _holds(refused.error in (None, "invalid_token", "insufficient_scope"), f"{refused.error} is no RFC 6750 code")
        _holds(not token or token not in refused.description, "the description holds the token")
        return
    raise AssertionError(f"accepted as {principal.kind.value} {principal.id}")
