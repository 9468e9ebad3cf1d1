import pytest
from tests.unit.gateway.identity.tokens import API, ED, ISSUER, MCP, verifier

from lockgate.contract.intent import PrincipalKind
from lockgate.gateway.identity.challenge import metadata_path, metadata_url, resource_metadata, www_authenticate
from lockgate.gateway.identity.issuer import BuiltinIssuer, TokenRequest, inspect, same_roles
from lockgate.gateway.identity.port import Audience, Unauthenticated
from lockgate.testing.identity_verifier import NOW

DEV = BuiltinIssuer(ISSUER, MCP, API, ED, dev=True)
PRODUCTION = BuiltinIssuer(ISSUER, MCP, API, ED, dev=False)


def test_what_is_issued_verifies():
    checked = verifier(DEV.settings(roles=same_roles(("operator",)), tenants=("default", "acme")), dev=True)
    request = TokenRequest("bot", Audience.AGENT, "j1", owner="alice", roles=("operator", "root"), tenant="acme")
    agent = checked.verify(DEV.issue(request, NOW), audience=Audience.AGENT, now=NOW)
    assert (agent.owner, agent.on_behalf_of, agent.roles, agent.tenant) == (
        f"{ISSUER}#alice",
        None,
        ("operator",),
        "acme",
    )
    human = checked.verify(
        DEV.issue(TokenRequest("alice", Audience.HUMAN, "j2"), NOW), audience=Audience.HUMAN, now=NOW
    )
    assert (human.kind, human.auth_time, human.token_id) == (PrincipalKind.HUMAN, int(NOW), "j2")
    delegated = DEV.issue(TokenRequest("bot", Audience.AGENT, "j3", on_behalf_of="alice"), NOW)
    principal = checked.verify(delegated, audience=Audience.AGENT, now=NOW)
    assert (principal.subject, principal.on_behalf_of) == ("bot", f"{ISSUER}#alice")


def test_a_tenant_that_is_not_configured_is_refused_though_the_key_is_ours():
    checked = verifier(DEV.settings(roles={}), dev=True)
    text = DEV.issue(TokenRequest("bot", Audience.AGENT, "j1", tenant="acme"), NOW)
    with pytest.raises(Unauthenticated, match="tenant"):
        checked.verify(text, audience=Audience.AGENT, now=NOW)


def test_development_tokens_end_at_productions_door():
    text = DEV.issue(TokenRequest("bot", Audience.AGENT, "j1"), NOW)
    with pytest.raises(Unauthenticated, match="development"):
        verifier(PRODUCTION.settings(roles={})).verify(text, audience=Audience.AGENT, now=NOW)
    own = PRODUCTION.issue(TokenRequest("bot", Audience.AGENT, "j1"), NOW)
    assert verifier(PRODUCTION.settings(roles={})).verify(own, audience=Audience.AGENT, now=NOW).subject == "bot"


@pytest.mark.parametrize(
    ("issuer", "request_", "field"),
    [
        (PRODUCTION, TokenRequest("alice", Audience.HUMAN, "j"), "audience"),
        (DEV, TokenRequest("alice", Audience.HUMAN, "j", owner="bob"), "owner"),
        (DEV, TokenRequest("bot", Audience.AGENT, "j", ttl=0), "ttl"),
        (DEV, TokenRequest("bot", Audience.AGENT, "j", ttl=10**9), "ttl"),
        (DEV, TokenRequest("", Audience.AGENT, "j"), "subject"),
        (DEV, TokenRequest("bot", Audience.AGENT, ""), "subject"),
    ],
)
def test_the_issuer_refuses_what_nobody_should_hold(issuer, request_, field):
    with pytest.raises(ValueError, match=f"^{field}:"):
        issuer.issue(request_, NOW)


def test_inspect_shows_claims_and_says_that_it_verified_nothing():
    shown = inspect(DEV.issue(TokenRequest("bot", Audience.AGENT, "j1"), NOW))
    assert shown["verified"] is False and shown["claims"]["sub"] == "bot" and shown["claims"]["lockgate_dev"] is True
    with pytest.raises(ValueError, match="token:"):
        inspect("nonsense")


def test_the_metadata_lies_behind_the_well_known_path():
    assert metadata_path(MCP) == "/.well-known/oauth-protected-resource/mcp"
    assert metadata_url(MCP) == "https://lockgate.example/.well-known/oauth-protected-resource/mcp"
    assert metadata_path("https://a.example/") == "/.well-known/oauth-protected-resource"
    document = resource_metadata(MCP, [ISSUER], ["lockgate:call"])
    assert document["resource"] == MCP and document["authorization_servers"] == [ISSUER]
    assert document["bearer_methods_supported"] == ["header"] and document["scopes_supported"] == ["lockgate:call"]


def test_the_challenge_names_the_metadata_and_cannot_be_broken_out_of():
    silent = www_authenticate(MCP, Unauthenticated(None, "no token"), ["lockgate:call"])
    assert silent == f'Bearer resource_metadata="{metadata_url(MCP)}", scope="lockgate:call"'
    loud = www_authenticate(MCP, Unauthenticated("invalid_token", 'a"b\\c\r\nd\u00e9'))
    assert loud.endswith('error="invalid_token", error_description="a?b?c??d?"')
