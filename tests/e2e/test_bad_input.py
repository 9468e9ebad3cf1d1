"""Bad calls, tokens and votes at the real gateway: an error that names the field, no half state, and others are answered meanwhile."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lockgate.gateway.app import builtin_issuer
from lockgate.gateway.identity.issuer import TokenRequest
from lockgate.gateway.identity.port import Audience
from lockgate.gateway.settings import load_gateway_settings

REASON = "scale for the launch"
GOOD = {"target": "web-dev", "service": "shop", "replicas": 1, "reason": REASON}


@dataclass(frozen=True)
class Answer:
    """What came back: the HTTP status, whether the call was refused, and all the words."""

    status: int
    refused: bool
    field: str
    text: str


def post(deployment: Any, path: str, body: bytes, token: str, **headers: str) -> tuple[int, Any]:
    """One POST of raw bytes; a server that answers before it has read all of them is heard too."""
    line = http.client.HTTPConnection("127.0.0.1", deployment.public, timeout=120)
    sent = {"content-type": "application/json", "authorization": f"Bearer {token}", **headers}
    try:
        line.putrequest("POST", path)
        for name, value in {**sent, "content-length": str(len(body))}.items():
            line.putheader(name, value)
        line.endheaders()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            line.send(body)
        response = line.getresponse()
        return response.status, json.loads(response.read())
    finally:
        line.close()


def over_rest(deployment: Any, who: str, action: str, arguments: bytes) -> Answer:
    """The call through /api/v1."""
    body = b'{"action": ' + json.dumps(action).encode() + b', "arguments": ' + arguments + b"}"
    status, document = post(deployment, "/api/v1/operations", body, deployment.token(who))
    return Answer(status, status >= 400, str(document.get("field", "")), json.dumps(document))


def over_mcp(deployment: Any, who: str, action: str, arguments: bytes) -> Answer:
    """The call through /mcp, as a tool call."""
    head = b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": '
    body = head + json.dumps(action).encode() + b', "arguments": ' + arguments + b"}}"
    version = {"mcp-protocol-version": "2025-11-25"}
    status, document = post(deployment, "/mcp", body, deployment.token(who, "agent"), **version)
    if "error" in document:
        data = document["error"].get("data") or {}
        return Answer(status, True, str(data.get("field", "")), json.dumps(document))
    content = document["result"]["structuredContent"]
    error = content.get("error") or {}
    return Answer(status, document["result"]["isError"], str(error.get("field", "")), json.dumps(document))


Door = Callable[[Any, str, str, bytes], Answer]
both_doors = pytest.mark.parametrize("door", [over_rest, over_mcp])


def operations(deployment: Any) -> set[str]:
    """Every operation there is, as an administrator sees it."""
    status, document = deployment.rest(
        "GET", "/api/v1/operations?limit=200", deployment.token("carol", roles=("admin",))
    )
    assert status == 200, document
    return {item["id"] for item in document["operations"]}


def changed(**changes: Any) -> bytes:
    """The good arguments with some changed; None takes one away."""
    return json.dumps({name: value for name, value in (GOOD | changes).items() if value is not None}).encode()


def put(text: bytes) -> bytes:
    """The good arguments with `text` in the place of the count."""
    return changed(replicas=1).replace(b'"replicas": 1', b'"replicas": ' + text)


ARGUMENTS: dict[str, tuple[bytes, str]] = {
    "extra": (changed(bogus=1), "bogus"),
    "missing": (changed(replicas=None), "replicas"),
    "of another type": (changed(replicas="1"), "replicas"),
    "true for a number": (changed(replicas=True), "replicas"),
    "a fraction": (changed(replicas=1.5), "replicas"),
    "out of range": (changed(replicas=21), "replicas"),
    "null": (put(b"null"), "replicas"),
    "no target": (changed(target=None), "target"),
    "an unknown target": (changed(target="nowhere"), "target"),
    "no reason": (changed(reason=None), "reason"),
    "an object for a text": (changed(service={"a": 1}), "service"),
    "900 kB of one letter": (changed(service="a" * 900_000), "arguments"),
    "60 kB of one letter": (changed(service="a" * 60_000), "service"),
    "a list for the arguments": (b"[]", "arguments"),
}


@both_doors
@pytest.mark.parametrize("case", ARGUMENTS)
def test_an_argument_that_does_not_fit_is_named(deployment: Any, door: Door, case: str) -> None:
    before = operations(deployment)
    arguments, field = ARGUMENTS[case]
    answer = door(deployment, f"caller-{case.replace(' ', '-')}", "set_replicas", arguments)
    assert answer.refused and answer.status != 500, answer
    assert field in answer.field or field in answer.text, answer
    assert len(answer.text) < 5_000, "the value is not echoed"
    assert operations(deployment) == before


BODIES: dict[str, tuple[bytes, str]] = {
    "NaN": (put(b"NaN"), "NaN"),
    "minus infinity": (put(b"-Infinity"), "Infinity"),
    "a number beyond a double": (put(b"1e999"), "finite"),
    "an integer that doubles cannot hold": (put(str(2**53).encode()), "2**53-1"),
    "a number of 5,000 digits": (put(b"9" * 5_000), "2**53-1"),
    "40 levels": (put(b"[" * 40 + b"]" * 40), "deeper than 32"),
    "100,000 levels": (put(b"[" * 100_000 + b"]" * 100_000), "deeper than 32"),
    "invalid UTF-8": (changed(service="a").replace(b'"a"', b'"\xff\xfe"'), "not UTF-8 at byte"),
    "a lone surrogate": (changed(service="a").replace(b'"a"', b'"\\ud800"'), "surrogate"),
    "a key twice": (changed()[:-1] + b', "replicas": 2}', "'replicas' stands twice"),
    "10 MB": (changed(service="a" * 10_000_000), "1048576"),
}


@both_doors
@pytest.mark.parametrize("case", BODIES)
def test_a_body_that_could_be_read_two_ways_or_not_at_all_is_refused(deployment: Any, door: Door, case: str) -> None:
    before = operations(deployment)
    arguments, said = BODIES[case]
    answer = door(deployment, f"sender-{case.replace(' ', '-').replace(',', '')}", "set_replicas", arguments)
    assert answer.refused and answer.status in (400, 413), answer
    assert said in answer.text and len(answer.text) < 5_000, answer.text[:5_000]
    assert operations(deployment) == before


@both_doors
def test_an_unknown_action_is_no_denial(deployment: Any, door: Door) -> None:
    before = operations(deployment)
    answer = door(deployment, "stranger", "drop_tables", b"{}")
    assert answer.refused and ("unknown_action" in answer.text or "Unknown tool" in answer.text), answer
    assert operations(deployment) == before


def test_others_are_answered_while_a_bad_body_arrives_and_while_many_are_read(deployment: Any) -> None:
    tokens = [deployment.token(f"o{number}") for number in range(9)]

    def asked(token: str) -> int:
        return int(deployment.rest("GET", "/api/v1/actions", token)[0])

    slow = http.client.HTTPConnection("127.0.0.1", deployment.public, timeout=120)
    slow.putrequest("POST", "/api/v1/operations")
    body = b'{"action": "set_replicas", "arguments": ' + BODIES["a key twice"][0] + b"}"
    for name, value in {
        "content-type": "application/json",
        "authorization": f"Bearer {deployment.token('slow')}",
        "content-length": str(len(body)),
    }.items():
        slow.putheader(name, value)
    slow.endheaders()
    slow.send(body[:20])
    assert asked(tokens[0]) == 200
    # Not the heavy ones in between: a body has ten seconds to arrive, which those may take on a busy machine.
    slow.send(body[20:])
    answer = slow.getresponse()
    assert answer.status == 400 and b"stands twice" in answer.read()
    slow.close()
    heavy = [ARGUMENTS["900 kB of one letter"][0], BODIES["100,000 levels"][0], BODIES["10 MB"][0]]
    with ThreadPoolExecutor(8) as pool:
        bad = [pool.submit(over_rest, deployment, f"heavy-{n}", "set_replicas", heavy[n % 3]) for n in range(9)]
        others = [pool.submit(asked, token) for token in tokens]
        assert [item.result() for item in others] == [200] * 9
        assert all(item.result().refused for item in bad)


def test_one_key_for_two_intents_is_a_conflict_that_leaves_the_first_alone(deployment: Any) -> None:
    token = deployment.token("keyed")
    call = {**GOOD, "service": "keyed", "dry_run": True, "idempotency_key": "the-key"}
    first = deployment.rest("POST", "/api/v1/operations", token, {"action": "set_replicas", "arguments": call})[1]
    before = operations(deployment)
    other = {"action": "set_replicas", "arguments": {**call, "replicas": 2}}
    status, refused = deployment.rest("POST", "/api/v1/operations", token, other)
    assert (status, refused["field"]) == (409, "idempotency_key") and first["id"] in refused["detail"]
    assert operations(deployment) == before
    assert deployment.rest("GET", f"/api/v1/operations/{first['id']}", token)[1]["intent"]["arguments"]["replicas"] == 1


def forged(deployment: Any, token: str) -> str:
    """The same claims under `alg: none`."""
    header = base64.urlsafe_b64encode(b'{"alg":"none","typ":"at+jwt"}').rstrip(b"=").decode()
    _, claims, signature = token.split(".")
    return f"{header}.{claims}.{signature}"


def unsigned(deployment: Any, token: str) -> str:
    """As `forged`, with nothing behind the last dot."""
    return forged(deployment, token).rpartition(".")[0] + "."


def expired(deployment: Any, token: str) -> str:
    """A token of the same issuer whose hour was yesterday."""
    issuer = builtin_issuer(load_gateway_settings(deployment.home / "gateway.yaml"))
    assert issuer is not None
    then = time.time() - 86_400
    fields: dict[str, Any] = {"audience": Audience.HUMAN, "roles": ("operator",), "auth_time": int(then)}
    return str(issuer.issue(TokenRequest(subject="late", jti=os.urandom(12).hex(), **fields), then))


def of_agents(deployment: Any, token: str) -> str:
    """A good token, for the other audience."""
    return str(deployment.token("deploy-bot", "agent"))


def cut(deployment: Any, token: str) -> str:
    """A good token with another signature."""
    return token[:-6] + ("AAAAAA" if not token.endswith("AAAAAA") else "BBBBBB")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (forged, "alg is not allowed"),
        (unsigned, "compact JWT"),
        (expired, "expired"),
        (of_agents, "audience"),
        (cut, "signature"),
    ],
)
def test_a_token_that_does_not_stand_is_401_with_the_reason(deployment: Any, spoil: Any, said: str) -> None:
    before = operations(deployment)
    bad = spoil(deployment, deployment.token("alice"))
    body = {"action": "set_replicas", "arguments": GOOD}
    status, document = deployment.rest("POST", "/api/v1/operations", bad, body)
    assert status == 401 and said in json.dumps(document), document
    assert operations(deployment) == before


def test_a_humans_token_is_no_agents(deployment: Any) -> None:
    message = b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}'
    status, document = post(deployment, "/mcp", message, deployment.token("alice"))
    assert status == 401 and "audience" in json.dumps(document), document


def held(deployment: Any, who: str, service: str, kind: str = "human") -> dict[str, Any]:
    """An operation that waits for approval, asked by a human over REST or by an agent over MCP."""
    arguments = {**GOOD, "target": "web-prod", "service": service}
    if kind == "human":
        asked = deployment.rest(
            "POST", "/api/v1/operations", deployment.token(who), {"action": "set_replicas", "arguments": arguments}
        )[1]["id"]
    else:
        answer = over_mcp(deployment, who, "set_replicas", json.dumps(arguments).encode())
        asked = json.loads(answer.text)["result"]["structuredContent"]["operation_id"]
    viewer = deployment.token("bob", roles=("approver",))
    found: dict[str, Any] = deployment.settled(asked, viewer, "pending_approval")
    return found


def vote_on(found: dict[str, Any]) -> dict[str, Any]:
    """An approval of exactly that plan."""
    digests = {name: found["plan"]["digests"][name] for name in ("semantic_sha256", "inputs_sha256")}
    return {"verdict": "approve", "digests": digests, "comment": ""}


def still_waits(deployment: Any, found: dict[str, Any]) -> None:
    """No vote was counted."""
    viewer = deployment.token("bob", roles=("approver",))
    status, details = deployment.rest("GET", f"/api/v1/operations/{found['id']}/details", viewer)
    assert status == 200 and details["operation"]["status"] == "pending_approval" and details["votes"] == []


def test_votes_that_do_not_count(deployment: Any) -> None:
    by_agent = held(deployment, "deploy-bot", "votes-a", "agent")
    by_human = held(deployment, "alice", "votes-b")
    path = f"/api/v1/operations/{by_agent['id']}/votes"
    bob = deployment.token("bob", roles=("approver",))
    owner = deployment.token("alice", roles=("approver",))
    status, refused = deployment.rest("POST", path, owner, vote_on(by_agent))
    assert status == 403 and refused["rules"][0]["rule"] == "lockgate.four_eyes", "an agent's owner asked for it"
    agent = deployment.token("other-bot", "agent", owner="bob", roles=("approver",))
    assert deployment.rest("POST", path, agent, vote_on(by_agent))[0] == 401, "an agent's token opens no human door"
    status, refused = deployment.rest("POST", path, bob, vote_on(by_human))
    assert (status, refused["field"]) == (409, "digests"), "what was displayed was another plan"
    for body, field in (
        ({"verdict": "approve"}, "digests"),
        ({"verdict": "approve", "digests": {}}, "digests.semantic_sha256"),
        ({**vote_on(by_agent), "verdict": "yes"}, "verdict"),
        ({**vote_on(by_agent), "quorum": 0}, "quorum"),
    ):
        status, refused = deployment.rest("POST", path, bob, body)
        assert (status, refused["field"]) == (400, field), refused
    still_waits(deployment, by_agent)
    still_waits(deployment, by_human)


def test_an_unknown_operation_and_someone_elses_answer_alike_to_people_too(deployment: Any) -> None:
    token = deployment.token("alice")
    body = {"action": "set_replicas", "arguments": {**GOOD, "service": "mine", "dry_run": True}}
    mine = deployment.rest("POST", "/api/v1/operations", token, body)[1]["id"]
    none = "op_" + "a" * 26
    dave = deployment.token("dave")
    digest = "sha256:" + "0" * 64
    vote = {"verdict": "approve", "digests": {"semantic_sha256": digest, "inputs_sha256": digest}}
    resolve = {"outcome": "succeeded", "reason": "it looks done"}
    for method, what, body in (  # type: ignore[assignment]
        ("GET", "", None),
        ("GET", "/details", None),
        ("GET", "/plan", None),
        ("POST", "/cancel", {}),
        ("POST", "/votes", vote),
        ("POST", "/resolve", resolve),
    ):
        theirs = deployment.rest(method, f"/api/v1/operations/{mine}{what}", dave, body)
        nobodys = deployment.rest(method, f"/api/v1/operations/{none}{what}", dave, body)
        assert theirs == nobodys and theirs[0] == 404, (method, what, theirs, nobodys)
    assert deployment.rest("GET", f"/api/v1/operations/{mine}", token)[0] == 200


def test_the_page_names_tests_that_exist(root: Path) -> None:
    page = (root / "docs" / "bad-input.md").read_text()
    named = re.findall(r"`(tests/[a-z0-9_/]+\.py)::(test_[a-z0-9_]+)`", page)
    assert len(named) >= 30, "one for each case"
    missing = [name for file, name in named if f"def {name}(" not in (root / file).read_text()]
    assert missing == []
