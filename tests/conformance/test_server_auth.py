"""Authorization of the MCP server, against a real gateway with an issuer of its own: the conformance suite has no scenarios for it, so these are ours.

MCP authorization (2026-07-28 and 2025-11-25), RFC 9728 (metadata), RFC 6750 (challenges), RFC 8707 (audience), RFC 9068 (access tokens).
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.conformance.deployment import agent_token, gateway, make_home
from tests.ports import free_ports
from tests.unit.gateway.api.serving import headers_of, modern

ISSUER = "https://idp.test/realm"
KEY = Ed25519PrivateKey.generate()
OTHER_KEY = Ed25519PrivateKey.generate()
LIST = modern("tools/list")
EVERY_METHOD = ("server/discover", "tools/list", "tools/call", "tasks/get", "subscriptions/listen", "unknown/method")


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(claims: dict[str, Any], key: Ed25519PrivateKey = KEY, **header: Any) -> str:
    parts = [json.dumps(part).encode() for part in ({"alg": "EdDSA", "kid": "k", "typ": "at+jwt", **header}, claims)]
    message = ".".join(map(b64, parts))
    return f"{message}.{b64(key.sign(message.encode()))}"


@dataclass
class Server:
    """The gateway as a client meets it."""

    url: str
    home: Path

    def token(self, **changes: Any) -> str:
        """An access token of the issuer that passes unless changed; None leaves a claim out."""
        now = int(time.time())
        claims = {"iss": ISSUER, "sub": "ada", "aud": f"{self.url}/mcp", "iat": now - 5, "exp": now + 300, "jti": "j"}
        return signed({name: value for name, value in {**claims, **changes}.items() if value is not None})

    async def send(self, token: str | None, body: dict[str, Any] = LIST, method: str = "POST") -> httpx2.Response:
        sent = {**headers_of(body), **({} if token is None else {"authorization": f"Bearer {token}"})}
        async with httpx2.AsyncClient(timeout=60) as client:
            return await client.request(method, f"{self.url}/mcp", json=body, headers=sent)

    async def get(self, url: str) -> httpx2.Response:
        async with httpx2.AsyncClient(timeout=60) as client:
            return await client.get(url)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """A gateway that believes one issuer besides its own."""
    (port,) = free_ports(1)
    home = tmp_path / "home"
    make_home(home, port, (), issuers=[{"issuer": ISSUER, "jwks_file": "idp.json"}])
    public = KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    jwk = {"kty": "OKP", "crv": "Ed25519", "kid": "k", "alg": "EdDSA", "x": b64(public)}
    (home / "idp.json").write_text(json.dumps({"keys": [jwk]}))
    async with gateway(home):
        yield Server(f"http://127.0.0.1:{port}", home)


def challenge(response: httpx2.Response) -> dict[str, str]:
    """The parameters of a Bearer challenge."""
    text = response.headers["www-authenticate"]
    scheme, _, rest = text.partition(" ")
    assert scheme == "Bearer"
    found = dict(re.findall(r'([a-z_]+)="([^"\\]*)"', rest))
    assert ", ".join(f'{name}="{value}"' for name, value in found.items()) == rest, "only well-formed parameters"
    return found


async def test_a_token_for_this_resource_is_accepted(server: Server) -> None:
    response = await server.send(server.token())
    assert response.status_code == 200 and "result" in response.json()
    assert "www-authenticate" not in response.headers


@pytest.mark.parametrize("method", EVERY_METHOD)
async def test_without_a_token_every_method_answers_401_and_where_to_get_one(server: Server, method: str) -> None:
    response = await server.send(None, modern(method, {"name": "x"}))
    assert response.status_code == 401
    found = challenge(response)
    assert found == {
        "resource_metadata": f"{server.url}/.well-known/oauth-protected-resource/mcp",
        "scope": "lockgate:agent",
    }


async def test_the_older_protocols_handshake_and_notifications_need_a_token_too(server: Server) -> None:
    for body in ({"jsonrpc": "2.0", "id": 1, "method": "initialize"}, {"jsonrpc": "2.0", "method": "notifications/x"}):
        async with httpx2.AsyncClient(timeout=60) as client:
            response = await client.post(f"{server.url}/mcp", json=body)
        assert response.status_code == 401 and challenge(response)


async def test_the_way_from_a_401_to_the_authorization_server_is_whole(server: Server) -> None:
    where = challenge(await server.send(None))["resource_metadata"]
    response = await server.get(where)
    assert response.status_code == 200 and response.headers["content-type"] == "application/json"
    document = response.json()
    assert document["resource"] == f"{server.url}/mcp"
    assert document["authorization_servers"] == [ISSUER]
    assert document["bearer_methods_supported"] == ["header"] and "lockgate:agent" in document["scopes_supported"]
    bare = await server.get(f"{server.url}/.well-known/oauth-protected-resource")
    assert bare.json() == document


REFUSED: dict[str, dict[str, Any]] = {
    "for another resource": {"aud": "https://other.test/mcp"},
    "for the human door": {"aud": "HUMAN"},
    "for no resource": {"aud": None},
    "expired": {"exp": int(time.time()) - 120, "iat": int(time.time()) - 300},
    "without an end": {"exp": None},
    "not yet valid": {"nbf": int(time.time()) + 3600},
    "of another issuer": {"iss": "https://evil.test"},
    "of nobody": {"sub": None},
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_token_that_does_not_stand_is_401_invalid_token(server: Server, name: str) -> None:
    changes = {key: f"{server.url}/api" if value == "HUMAN" else value for key, value in REFUSED[name].items()}
    response = await server.send(server.token(**changes))
    found = challenge(response)
    assert response.status_code == 401 and found["error"] == "invalid_token" and found["error_description"]
    assert found["resource_metadata"].endswith("/.well-known/oauth-protected-resource/mcp")


async def test_a_signature_that_does_not_fit_is_401_and_the_token_is_not_repeated(server: Server) -> None:
    good = server.token()
    header, payload, _ = good.split(".")
    none = f"{b64(json.dumps({'alg': 'none'}).encode())}.{payload}."
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    for token in (signed(claims, OTHER_KEY), none, f"{header}.{payload}.AAAA", "garbage", "a.b.c", good[:-8]):
        response = await server.send(token)
        assert response.status_code == 401 and challenge(response)["error"] == "invalid_token"
        assert token not in response.text and token not in response.headers["www-authenticate"]


async def test_a_token_of_too_little_scope_is_403_and_names_what_it_lacks(server: Server) -> None:
    response = await server.send(server.token(scope="openid profile"))
    found = challenge(response)
    assert response.status_code == 403 and found["error"] == "insufficient_scope" and found["scope"] == "lockgate:agent"
    assert found["resource_metadata"].endswith("/mcp")
    stepped_up = await server.send(server.token(scope=f"openid profile {found['scope']}"))
    assert stepped_up.status_code == 200


async def test_a_token_is_taken_from_the_authorization_header_alone(server: Server) -> None:
    token = server.token()
    async with httpx2.AsyncClient(timeout=60) as client:
        query = await client.post(f"{server.url}/mcp?access_token={token}", json=LIST, headers=headers_of(LIST))
        body = {**LIST, "params": {**LIST["params"], "access_token": token}}
        inside = await client.post(f"{server.url}/mcp", json=body, headers=headers_of(LIST))
        twice = [*headers_of(LIST).items(), *[("authorization", f"Bearer {token}")] * 2]
        doubled = await client.post(f"{server.url}/mcp", json=LIST, headers=twice)
        other = {**headers_of(LIST), "authorization": f"Basic {token}"}
        basic = await client.post(f"{server.url}/mcp", json=LIST, headers=other)
    assert [query.status_code, inside.status_code, doubled.status_code, basic.status_code] == [401, 401, 400, 401]


async def test_each_request_is_authorized_by_itself(server: Server) -> None:
    async with httpx2.AsyncClient(timeout=60) as client:
        good = {**headers_of(LIST), "authorization": f"Bearer {server.token()}"}
        assert (await client.post(f"{server.url}/mcp", json=LIST, headers=good)).status_code == 200
        again = await client.post(f"{server.url}/mcp", json=LIST, headers=headers_of(LIST))  # the same connection
    assert again.status_code == 401


async def test_the_gateways_own_issuer_is_believed_for_agents(server: Server) -> None:
    assert (await server.send(agent_token(server.home, "operator"))).status_code == 200


async def test_there_is_no_other_way_in_than_post(server: Server) -> None:
    for method in ("GET", "DELETE"):
        for token in (None, server.token()):
            response = await server.send(token, method=method)
            assert response.status_code == 405 and response.headers["allow"] == "POST"
