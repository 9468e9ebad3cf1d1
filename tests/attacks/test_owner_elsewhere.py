"""A human owns an agent of the built-in issuer and signs in at another one: still nobody approves what their own agent asked (invariant 5)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.invariants.gate import Gate
from tests.invariants.parties import human

from lockgate.gateway.app import builtin_issuer, make_verifier
from lockgate.gateway.approvals.votes import four_eyes
from lockgate.gateway.errors import Forbidden
from lockgate.gateway.identity.issuer import BuiltinIssuer, TokenRequest
from lockgate.gateway.identity.jwks import InlineKeys
from lockgate.gateway.identity.jwt import JwtVerifier
from lockgate.gateway.identity.port import Audience, Unauthenticated
from lockgate.gateway.identity.settings import IdentitySettings, IssuerSettings
from lockgate.gateway.policysettings import PolicySettings
from lockgate.gateway.settings import GatewayKeys, GatewaySettings, PublicListener, RunnerListener
from lockgate.keys.signer import generate_key

IDP = "https://people.example"
NOW = 1_800_000_000.0
KEY = Ed25519PrivateKey.generate()


class Nobody:
    """No revocations."""

    def is_revoked(self, token_id: str, principal_id: str, issued_at: int) -> bool:
        return False


def production() -> tuple[BuiltinIssuer, JwtVerifier]:
    """Agents' tokens of the built-in issuer, humans of an identity provider."""
    builtin = BuiltinIssuer("lockgate:prod", "https://g/mcp", "https://g/api", KEY, dev=False)
    people = IssuerSettings(issuer=IDP, keys=InlineKeys(builtin.jwks()))
    own = builtin.settings(roles={}, owner_issuers=(IDP,))
    return builtin, JwtVerifier(IdentitySettings("https://g/mcp", "https://g/api", (own, people)), Nobody())


def agents_token(**fields: str) -> str:
    return production()[0].issue(TokenRequest("bot", Audience.AGENT, "j1", **fields), NOW)  # type: ignore[arg-type]


async def test_the_owner_is_the_human_as_that_human_signs_in(gate: Gate) -> None:
    _, verifier = production()
    bot = verifier.verify(agents_token(owner=f"{IDP}#alice"), audience=Audience.AGENT, now=NOW)
    assert bot.owner == f"{IDP}#alice"
    operation = replace(await gate.pending(), principal=bot)
    with pytest.raises(Forbidden) as refused:
        await four_eyes(gate.core, replace(human("alice"), issuer=IDP), operation)
    assert refused.value.rules[0]["rule"] == "lockgate.four_eyes"


@pytest.mark.parametrize(
    "fields",
    [
        {"owner": "alice"},
        {"owner": "lockgate:prod#alice"},
        {"owner": "https://evil.example#alice"},
        {"on_behalf_of": "alice"},
    ],
)
def test_a_name_that_no_human_signs_in_by_answers_for_nobody(fields: dict[str, str]) -> None:
    _, verifier = production()
    with pytest.raises(Unauthenticated):
        verifier.verify(agents_token(**fields), audience=Audience.AGENT, now=NOW)


async def test_a_gateway_lets_its_own_tokens_name_the_humans_of_its_other_issuers(gate: Gate, tmp_path: Path) -> None:
    """What `lockgate gateway` wires, from settings with one identity provider beside the built-in issuer."""
    generate_key(tmp_path / "issuer.pem")
    nowhere = tmp_path / "unused"
    settings = GatewaySettings(
        deployment="prod",
        runners=RunnerListener(nowhere, nowhere, nowhere),
        keys=GatewayKeys(nowhere, nowhere, nowhere, nowhere, tmp_path / "issuer.pem"),
        home=tmp_path,
        issuers=({"issuer": IDP, "jwks_file": "people.json"},),
        public=PublicListener(url="https://g", behind_tls_proxy=True),
        policy=PolicySettings(source="file", path=nowhere, keys={"release": nowhere}),
    )
    builtin = builtin_issuer(settings)
    assert builtin is not None
    text = builtin.issue(TokenRequest("bot", Audience.AGENT, "j1", owner=f"{IDP}#alice"), NOW)
    principal = make_verifier(settings, gate.core).verify(text, audience=Audience.AGENT, now=NOW)
    assert principal.owner == f"{IDP}#alice"
