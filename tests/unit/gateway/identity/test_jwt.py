import hashlib
import hmac
import json

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.unit.gateway.identity.tokens import (
    API,
    ED,
    GONE,
    ISSUER,
    JWKS,
    MCP,
    OTHER_ED,
    at_api,
    at_mcp,
    claims,
    encode,
    header,
    human,
    human_claims,
    issuer,
    token,
    verifier,
)

from lockgate.contract.intent import PrincipalKind
from lockgate.gateway.identity.jwks import FileKeys, InlineKeys, KeysUnavailable
from lockgate.gateway.identity.port import Audience, Unauthenticated
from lockgate.gateway.identity.settings import IdentitySettings, IdentitySettingsError
from lockgate.testing.identity_verifier import NOW, RevokedSet


def refused(call, *args, **kwargs) -> str:
    with pytest.raises(Unauthenticated) as caught:
        call(*args, **kwargs)
    assert caught.value.error == "invalid_token" and caught.value.status == 401
    return caught.value.description


@pytest.mark.parametrize(("algorithm", "kid"), [("EdDSA", "ed"), ("Ed25519", "ed"), ("ES256", "ec"), ("RS256", "rsa")])
def test_every_default_algorithm_verifies_and_a_flipped_bit_does_not(algorithm, kid):
    good = encode(header(alg=algorithm, kid=kid), claims())
    assert at_mcp(good).subject == "alice"
    head, body, signature = good.split(".")
    flipped = ("A" if signature[5] != "A" else "B").join([signature[:5], signature[6:]])
    assert "signature" in refused(at_mcp, f"{head}.{body}.{flipped}")
    assert "signature" in refused(at_mcp, f"{head}.{body}.AAAA")


def test_none_and_shared_secrets_are_no_algorithms():
    public = ED.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    pem = ED.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for secret in (public, pem):
        forged = encode(header(alg="HS256"), claims(), lambda text, s=secret: hmac.digest(s, text, "sha256"))
        assert "alg" in refused(at_mcp, forged)
    for name in ("none", "None", "HS512", "ES512", "", None, 7, GONE):
        assert "alg" in refused(at_mcp, encode(header(alg=name), claims(), lambda _: b"0"))
    head, body, _ = encode(header(alg="none"), claims(), lambda _: b"0").split(".")
    assert "compact" in refused(at_mcp, f"{head}.{body}.")


def test_an_algorithm_fits_only_its_own_kind_of_key_and_the_issuers_list():
    assert "signature" in refused(at_mcp, encode(header(alg="ES256", kid="ed"), claims()))
    assert "signature" in refused(at_mcp, encode(header(alg="RS256", kid="ec"), claims()))
    assert "alg" in refused(at_mcp, token(), issuer(algorithms=frozenset({"ES256"})))


def test_the_key_is_named_by_kid_among_the_issuers_own():
    assert "kid" in refused(at_mcp, encode(header(kid="nobody"), claims()))
    assert "kid" in refused(at_mcp, encode(header(kid=GONE), claims()))
    alone = issuer(keys=InlineKeys({"keys": [JWKS["keys"][0]]}))
    assert at_mcp(encode(header(kid=GONE), claims()), alone).subject == "alice"


@pytest.mark.parametrize("name", ["crit", "jwk", "jku", "x5u", "x5c", "b64", "zip"])
def test_a_header_that_could_steer_verification_is_refused(name):
    assert name in refused(at_mcp, encode(header(**{name: ["exp"]}), claims()))


@pytest.mark.parametrize(
    ("kind", "good"),
    [("at+jwt", True), ("JWT", True), ("application/at+jwt", True), ("dpop+jwt", False), (GONE, False), (3, False)],
)
def test_only_access_tokens_are_tokens(kind, good):
    text = encode(header(typ=kind), claims())
    if good:
        assert at_mcp(text).subject == "alice"
    else:
        assert "typ" in refused(at_mcp, text)
    assert at_mcp(encode(header(typ=GONE), claims()), issuer(token_types=frozenset({""}))).subject == "alice"


def test_times_are_held_to_with_the_issuers_leeway():
    assert "expired" in refused(at_mcp, token(), now=NOW + 630)
    assert at_mcp(token(), now=NOW + 629).expires_at == NOW + 600
    assert "expired" in refused(at_mcp, token(), issuer(leeway=0), now=NOW + 600)
    assert "nbf" in refused(at_mcp, token(nbf=NOW + 31))
    assert at_mcp(token(nbf=NOW + 29)).subject == "alice"
    assert "iat" in refused(at_mcp, token(iat=NOW + 31))
    assert "longer" in refused(at_mcp, token(exp=NOW + 86_400))
    assert "longer" in refused(at_mcp, token(iat=NOW + 20, exp=NOW + 10))


@pytest.mark.parametrize("claim", ["iss", "sub", "aud", "exp", "iat"])
@pytest.mark.parametrize("value", [GONE, None, "", [], {}, True, -1])
def test_a_required_claim_is_present_and_of_its_type(claim, value):
    assert claim in refused(at_mcp, token(**{claim: value}))


@pytest.mark.parametrize("sub", ["a\nb", " a", "a" * 257, "a\u202eb"])
def test_a_subject_is_short_and_printable(sub):
    assert "sub" in refused(at_mcp, token(sub=sub))


def test_a_foreign_token_without_jti_is_known_by_its_digest():
    text = token(jti=GONE)
    expected = "sha256:" + hashlib.sha256(text.rpartition(".")[0].encode()).hexdigest()
    assert at_mcp(text).token_id == expected
    assert "jti" in refused(at_mcp, text, issuer(builtin=True), dev=True)
    for empty in ("", None, 5):
        assert "jti" in refused(at_mcp, token(jti=empty))


def test_the_same_token_has_only_one_writing():
    head, body, signature = token().split(".")
    # 64 bytes leave four bits of the last character unused; a lenient decoder would take sixteen characters for one.
    stray = signature[:-1] + chr(ord(signature[-1]) + 1)
    assert "stray bits" in refused(at_mcp, f"{head}.{body}.{stray}")
    for text in (
        f"{head}.{body}.{signature}=",
        f"{head}.{body}.{signature}\n",
        f" {head}.{body}.{signature}",
        f"{head}.{body}",
    ):
        assert "compact" in refused(at_mcp, text)


def test_duplicate_claims_and_headers_are_refused():
    doubled = json.dumps(claims())[:-1] + ', "sub": "mallory"}'
    assert "duplicate" in refused(at_mcp, encode(header(), doubled.encode()))
    head = json.dumps(header())[:-1] + ', "alg": "none"}'
    assert "duplicate" in refused(at_mcp, encode(head.encode(), claims()))
    assert "strict JSON" in refused(at_mcp, encode(header(), b"[" * 20 + b"]" * 20))
    assert "no JSON object" in refused(at_mcp, encode(header(), b"[]"))


def test_a_huge_token_is_refused_before_it_is_read():
    assert "larger than 8192" in refused(at_mcp, token(pad="x" * 9000))


def test_no_token_is_no_error_code():
    with pytest.raises(Unauthenticated) as caught:
        at_mcp("")
    assert caught.value.error is None and caught.value.status == 401


def test_an_issuer_that_is_not_configured_is_refused_even_with_a_good_key():
    assert "iss" in refused(at_mcp, token(iss="https://evil.example"))
    other = issuer(issuer="https://other.example", keys=InlineKeys({"keys": [{**JWKS["keys"][0], "kid": "other"}]}))
    assert "kid" in refused(at_mcp, token(iss="https://other.example"), issuer(), other)


def test_an_agent_is_who_the_door_says_whatever_the_token_calls_itself():
    principal = at_mcp(token(kind="human", roles=["admin"], auth_time=int(NOW)))
    assert (principal.kind, principal.on_behalf_of, principal.roles) == (PrincipalKind.AGENT, f"{ISSUER}#alice", ())
    assert principal.auth_time is None


def test_an_actor_acts_on_behalf_of_the_subject():
    principal = at_mcp(token(act={"sub": "bot"}))
    assert (principal.id, principal.on_behalf_of) == (f"{ISSUER}#bot", f"{ISSUER}#alice")
    assert principal.persons == {f"{ISSUER}#bot", f"{ISSUER}#alice"}
    for act in (
        {},
        "bot",
        {"sub": ""},
        {"sub": "bot", "act": {"sub": "x"}},
        {"sub": "bot", "iss": "https://evil.example"},
    ):
        assert "act" in refused(at_mcp, token(act=act))


def test_a_clients_own_token_stands_for_nobody():
    principal = at_mcp(token(sub="bot", client_id="bot"))
    assert principal.on_behalf_of is None and principal.owner is None and principal.persons == {f"{ISSUER}#bot"}


def test_an_owner_comes_only_from_the_configured_claim_and_from_trusted_issuers():
    assert at_mcp(token(owner="bob")).owner is None
    owning = issuer(owner_claim="owner", owner_issuers=("https://people.example",))
    assert at_mcp(token(owner="bob"), owning).owner == f"{ISSUER}#bob"
    assert at_mcp(token(owner=f"{ISSUER}#bob"), owning).owner == f"{ISSUER}#bob"
    assert at_mcp(token(owner="https://people.example#bob"), owning).owner == "https://people.example#bob"
    assert "owner_issuers" in refused(at_mcp, token(owner="https://evil.example#bob"), owning)
    assert "owner" in refused(at_mcp, token(owner=["bob"]), owning)


def test_a_human_has_signed_in_recently_and_nobody_acts_for_one():
    principal = at_api(human())
    assert (principal.kind, principal.auth_time, principal.on_behalf_of) == (PrincipalKind.HUMAN, int(NOW) - 60, None)
    assert "act" in refused(at_api, human(act={"sub": "bot"}))
    assert "act" in refused(at_api, human(act=None))
    assert "auth_time" in refused(at_api, human(auth_time=GONE))
    assert "auth_time" in refused(at_api, human(auth_time=int(NOW) + 31))
    assert "sign in again" in refused(at_api, human(auth_time=int(NOW) - 12 * 3600 - 31))
    assert "sign in again" in refused(at_api, human(), human_auth_age=10, now=NOW + 10)


def test_the_age_of_a_sign_in_is_looked_at_on_every_use():
    checked = verifier(human_auth_age=100)
    assert checked.verify(human(), audience=Audience.HUMAN, now=NOW).subject == "alice"
    with pytest.raises(Unauthenticated, match="sign in again"):
        checked.verify(human(), audience=Audience.HUMAN, now=NOW + 71)


@pytest.mark.parametrize("audience", [[MCP, API], [API, MCP], MCP, [API, "x", MCP]])
def test_what_agents_could_use_is_never_a_humans(audience):
    assert "aud" in refused(at_api, encode(header(), human_claims(audience=audience)))


def test_a_human_token_may_have_audiences_that_are_none_of_ours():
    assert at_api(encode(header(), human_claims(audience=["account", API]))).audience == API


def test_an_issuer_cannot_assert_another_tenant():
    assert at_mcp(token(tenant="other")).tenant == "default"
    bound = issuer(tenant_claim="tid", tenants=("a", "b"))
    assert at_mcp(token(tid="b"), bound).tenant == "b"
    for value in ("c", GONE, ["a"], ""):
        assert "tid" in refused(at_mcp, token(tid=value), bound)


def test_roles_come_only_by_the_issuers_mapping():
    mapped = issuer(roles={"ops": "operator", "sre": "operator", "boss": "admin"})
    assert at_mcp(token(roles=["ops", "sre", "unknown", 5]), mapped).roles == ("operator",)
    assert at_mcp(token(roles="ops boss"), mapped).roles == ("admin", "operator")
    assert at_mcp(token(roles={"ops": 1}), mapped).roles == ()
    nested = issuer(roles={"ops": "operator"}, roles_claim=("realm_access", "roles"))
    assert at_mcp(token(realm_access={"roles": ["ops"]}), nested).roles == ("operator",)
    assert at_mcp(token(realm_access=["ops"]), nested).roles == ()


def test_production_refuses_development_tokens_and_built_in_humans():
    assert "development" in refused(at_mcp, token(lockgate_dev=True))
    assert "development" in refused(at_mcp, token(lockgate_dev=False))
    assert at_mcp(token(lockgate_dev=True), dev=True).subject == "alice"
    assert "built-in" in refused(at_api, human(), issuer(builtin=True))
    assert at_api(human(), issuer(builtin=True), dev=True).kind is PrincipalKind.HUMAN


@pytest.mark.parametrize("who", [f"{ISSUER}#bot", f"{ISSUER}#alice", f"{ISSUER}#bob"])
def test_whoever_stands_behind_an_agent_can_be_revoked_at_any_moment(who):
    revoked = RevokedSet()
    checked = verifier(issuer(owner_claim="owner"), revoked=revoked)
    text = token(act={"sub": "bot"}, owner="bob")
    checked.verify(text, audience=Audience.AGENT, now=NOW)
    revoked.principals[who] = int(NOW) * 1000 - 10_001
    checked.verify(text, audience=Audience.AGENT, now=NOW)
    revoked.principals[who] = int(NOW) * 1000 - 10_000
    assert "revoked" in refused(checked.verify, text, audience=Audience.AGENT, now=NOW)


def test_a_revoked_token_is_refused_from_the_cache_and_anew():
    revoked = RevokedSet()
    checked = verifier(revoked=revoked)
    checked.verify(token(), audience=Audience.AGENT, now=NOW)
    revoked.tokens.add("t1")
    assert "revoked" in refused(checked.verify, token(), audience=Audience.AGENT, now=NOW)
    assert "revoked" in refused(at_mcp, token(), revoked=revoked)


def test_the_cache_is_bounded_and_forgets_with_the_key(tmp_path):
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps(JWKS))
    checked = verifier(issuer(keys=FileKeys(path)), cache_size=2)
    for number in range(5):
        checked.verify(token(jti=f"t{number}"), audience=Audience.AGENT, now=NOW)
    assert len(checked._cache) == 2
    without = {"keys": [key for key in JWKS["keys"] if key["kid"] != "ed"]}
    path.write_text(json.dumps(without))
    assert "kid" in refused(checked.verify, token(jti="t4"), audience=Audience.AGENT, now=NOW + 2)


def test_a_key_file_that_breaks_is_no_keys_until_it_is_mended(tmp_path):
    path = tmp_path / "jwks.json"
    keys = FileKeys(path)
    with pytest.raises(KeysUnavailable, match="cannot be read"):
        keys.keys(NOW)
    path.write_text('{"keys": [], "keys": []}')
    with pytest.raises(KeysUnavailable, match="twice"):
        keys.keys(NOW + 2)
    assert "cannot be read" in refused(at_mcp, token(), issuer(keys=keys))
    path.write_text(json.dumps(JWKS))
    assert set(keys.keys(NOW + 4)) == {"ed", "ec", "rsa"} and keys.last_error is None
    assert keys.keys(NOW + 6) is keys.keys(NOW + 8)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"kty": "oct", "k": "AAAA", "kid": "x"}, "kty"),
        ({**JWKS["keys"][0], "d": "AAAA"}, "private key"),
        ({"kty": "OKP", "crv": "Ed25519", "x": "AA"}, "not a valid key"),
        ({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}, "not a valid key"),
        ("x", "must be an object"),
        ({**JWKS["keys"][0], "use": "enc"}, "none of them"),
        ({**JWKS["keys"][0], "alg": "ES256"}, "none of them"),
        ({**JWKS["keys"][0], "key_ops": ["sign"]}, "none of them"),
    ],
)
def test_a_key_set_holds_public_signature_keys(entry, message):
    with pytest.raises(KeysUnavailable, match=message):
        InlineKeys({"keys": [entry]})


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"human_audience": MCP}, "human_audience"),
        ({"human_audience": MCP.upper() + "/"}, "human_audience"),
        ({"agent_audience": " "}, "agent_audience"),
        ({"issuers": (issuer(), issuer())}, "issuers"),
        ({"human_auth_age": 0}, "human_auth_age"),
        ({"cache_size": 0}, "cache_size"),
    ],
)
def test_settings_that_would_blur_agent_and_human_are_refused(changes, field):
    with pytest.raises(IdentitySettingsError) as caught:
        IdentitySettings(**{"agent_audience": MCP, "human_audience": API, "issuers": (issuer(),), **changes})
    assert caught.value.field == field


@pytest.mark.parametrize(
    "changes",
    [
        {"algorithms": frozenset({"none"})},
        {"algorithms": frozenset({"HS256", "EdDSA"})},
        {"algorithms": frozenset()},
        {"leeway": 61},
        {"leeway": -1},
        {"max_lifetime": 0},
        {"tenant_claim": "tid"},
        {"tenants": ("a",)},
        {"issuer": "https://a#b"},
        {"roles_claim": ()},
    ],
)
def test_issuer_settings_out_of_bounds_are_refused(changes):
    with pytest.raises(IdentitySettingsError):
        issuer(**changes)


def test_a_forged_signature_by_another_key_of_the_same_kind_is_refused():
    assert "signature" in refused(at_mcp, encode(header(), claims(), OTHER_ED.sign))


def test_no_changed_character_anywhere_goes_unnoticed():
    text, checked = token(), verifier()
    for index, char in enumerate(text):
        changed = text[:index] + ("A" if char != "A" else "B") + text[index + 1 :]
        assert refused(checked.verify, changed, audience=Audience.AGENT, now=NOW)


@pytest.mark.parametrize("scope", ["lockgate:agent", "openid lockgate:agent", "lockgate:agent lockgate:human"])
def test_a_token_that_lists_the_doors_scope_passes(scope: str) -> None:
    assert at_mcp(token(scope=scope)).subject == "alice"


@pytest.mark.parametrize("scope", ["", "openid profile", "lockgate:human", "lockgate:agents", "xlockgate:agent"])
def test_a_token_that_lists_other_scopes_alone_lacks_the_doors(scope: str) -> None:
    with pytest.raises(Unauthenticated) as caught:
        at_mcp(token(scope=scope))
    assert (caught.value.error, caught.value.status) == ("insufficient_scope", 403)


@pytest.mark.parametrize("scope", [["lockgate:agent"], 5, None, {}])
def test_a_scope_of_another_shape_is_no_scope(scope: object) -> None:
    with pytest.raises(Unauthenticated) as caught:
        at_mcp(token(scope=scope))
    assert caught.value.error == "invalid_token"
