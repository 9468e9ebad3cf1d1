"""/api/v1: every route, its errors, and the OpenAPI document made from the same table."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema_rs
import pytest
from tests.unit.gateway.api.memorydoor import DIGEST, HIDDEN, OTHER
from tests.unit.gateway.api.serving import Served

from lockgate.gateway.api.openapi import openapi_document
from lockgate.gateway.api.rest import PREFIX, ROUTES

REASON = "because it must be"
NEW = {"action": "deploy", "arguments": {"target": "web-1", "reason": REASON}}
BODIES: dict[str, dict[str, Any]] = {
    "/operations": NEW,
    "/operations/{id}/cancel": {},
    "/operations/{id}/votes": {
        "verdict": "approve",
        "digests": {"semantic_sha256": OTHER, "inputs_sha256": DIGEST},
    },
    "/operations/{id}/resolve": {"outcome": "succeeded", "reason": REASON},
    "/targets/{name}/unlock": {"reason": REASON},
    "/freezes": {"scope": "*", "frozen": True, "reason": REASON},
    "/revocations": {"kind": "token", "subject": "jti", "reason": REASON},
}


async def call(
    served: Served, method: str, path: str, body: Any = None, token: str | None = "human"
) -> tuple[int, dict[str, Any]]:
    """Status and document of one call."""
    async with served.client(token) as client:
        response = await client.request(method, PREFIX + path, json=body)
        assert response.headers["cache-control"] == "no-store"
        document = response.json()
        if response.status_code >= 400:
            assert response.headers["content-type"] == "application/problem+json"
            assert {"type", "title", "status", "detail", "code"} <= set(document)
            assert document["status"] == response.status_code
        return response.status_code, document


def schema_validator(schema: dict[str, Any]) -> jsonschema_rs.Draft202012Validator:
    """A schema of the OpenAPI document with its references."""
    text = json.dumps({**schema, "$defs": openapi_document()["components"]["schemas"]})
    return jsonschema_rs.Draft202012Validator(json.loads(text.replace("#/components/schemas/", "#/$defs/")))


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_each_route_is_in_the_document_and_answers_as_it_says(served: Served, route: Any) -> None:
    described = openapi_document()["paths"][PREFIX + route.path][route.method.lower()]
    await call(served, "POST", "/operations", {"action": "wipe", "arguments": {"target": "web-1"}})
    path = re.sub(r"\{\w+\}", "op_1", route.path)
    body = BODIES.get(route.path) if route.method == "POST" else None
    status, document = await call(served, route.method, path, body)
    assert str(status) in described["responses"], document
    schema_validator(described["responses"][str(status)]["content"]["application/json"]["schema"]).validate(document)
    if route.body is not None:
        schema_validator(described["requestBody"]["content"]["application/json"]["schema"]).validate(body)


def test_the_document_describes_nothing_else() -> None:
    described = {(method.upper(), path) for path, item in openapi_document()["paths"].items() for method in item}
    assert described == {(route.method, PREFIX + route.path) for route in ROUTES}
    names = [item[method]["operationId"] for item in openapi_document()["paths"].values() for method in item]
    assert len(set(names)) == len(names)


async def test_the_document_is_served_without_a_token_and_its_references_resolve(served: Served) -> None:
    status, document = await call(served, "GET", "/openapi.json", token=None)
    assert status == 200 and document == openapi_document() and document["openapi"] == "3.1.0"
    for name in re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)):
        assert name in document["components"]["schemas"]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_an_agents_token_opens_no_route(served: Served, route: Any) -> None:
    path = re.sub(r"\{\w+\}", "op_1", route.path)
    async with served.client("agent") as client:
        response = await client.request(route.method, PREFIX + path, json=BODIES.get(route.path))
    assert response.status_code == 401 and response.json()["code"] == "invalid_token"
    metadata = f'resource_metadata="{served.url}/.well-known/oauth-protected-resource/api"'
    assert metadata in response.headers["www-authenticate"]
    assert served.door.calls == []


async def test_a_denied_operation_is_a_problem_with_rules_and_decision(served: Served) -> None:
    status, document = await call(served, "POST", "/operations", {"action": "forbidden", "arguments": {}})
    assert status == 403 and document["code"] == "denied" and document["decision_id"] == "dec_1"
    assert document["rules"][0]["rule"] == "lockgate.rbac" and document["fix"] == "Ask for the role operator."
    assert document["operation"]["id"] == "op_1"
    schema_validator({"$ref": "#/components/schemas/Problem"}).validate(document)


async def test_an_unknown_action_is_404_and_not_a_denial(served: Served) -> None:
    status, document = await call(served, "POST", "/operations", {"action": "nothing", "arguments": {}})
    assert (status, document["code"], document["field"]) == (404, "unknown_action", "action")


async def test_refusals_become_problems(served: Served) -> None:
    async with served.client("human") as client:
        response = await client.post(PREFIX + "/operations", json={"action": "busy", "arguments": {}})
    assert response.status_code == 429 and response.headers["retry-after"] == "2"
    assert response.json()["retry_after_seconds"] == 2.0
    body = {"scope": "tenant:other", "frozen": True, "reason": REASON}
    status, document = await call(served, "POST", "/freezes", body)
    assert (status, document["code"], document["decision_id"]) == (403, "forbidden", "dec_9")
    assert document["rules"][0]["rule"] == "lockgate.admin"


async def test_an_inner_failure_is_a_500_that_leaks_nothing(served: Served) -> None:
    status, document = await call(served, "POST", "/operations", {"action": "broken", "arguments": {}})
    assert status == 500 and document["code"] == "internal" and "inner detail" not in json.dumps(document)


async def test_an_unknown_operation_is_404_everywhere(served: Served) -> None:
    for path in ("/operations/op_9", "/operations/op_9/details", "/operations/op_9/plan"):
        assert (await call(served, "GET", path))[0] == 404
    for name in ("votes", "cancel", "resolve"):
        status, document = await call(served, "POST", f"/operations/op_9/{name}", BODIES[f"/operations/{{id}}/{name}"])
        assert (status, document["code"]) == (404, "not_found")


DIGESTS = {"semantic_sha256": OTHER, "inputs_sha256": DIGEST}
BAD_BODIES = {
    "a vote without digests": ("/operations/op_1/votes", {"verdict": "approve"}, "digests"),
    "a vote with one digest": (
        "/operations/op_1/votes",
        {"verdict": "approve", "digests": {"semantic_sha256": OTHER}},
        "digests.inputs_sha256",
    ),
    "a digest of another form": (
        "/operations/op_1/votes",
        {"verdict": "approve", "digests": {**DIGESTS, "inputs_sha256": "abc"}},
        "digests.inputs_sha256",
    ),
    "an unknown verdict": ("/operations/op_1/votes", {"verdict": "maybe", "digests": DIGESTS}, "verdict"),
    "an extra member": ("/operations/op_1/votes", {"verdict": "approve", "digests": DIGESTS, "x": 1}, "x"),
    "no action": ("/operations", {"arguments": {}}, "action"),
    "a wrong type": ("/operations", {"action": 5, "arguments": {}}, "action"),
    "arguments as a list": ("/operations", {"action": "deploy", "arguments": []}, "arguments"),
    "a list": ("/operations", [], "body"),
    "frozen as text": ("/freezes", {"scope": "*", "frozen": "true", "reason": REASON}, "frozen"),
    "a bad scope": ("/freezes", {"scope": "everything", "frozen": True, "reason": REASON}, "scope"),
    "no reason": ("/targets/web-1/unlock", {}, "reason"),
    "a short reason": ("/targets/web-1/unlock", {"reason": "x"}, "reason"),
    "an unknown outcome": ("/operations/op_1/resolve", {"outcome": "fine", "reason": REASON}, "outcome"),
    "an unknown kind": ("/revocations", {"kind": "all", "subject": "x", "reason": REASON}, "kind"),
}


@pytest.mark.parametrize("name", BAD_BODIES)
async def test_a_bad_body_names_the_field_and_reaches_nothing(served: Served, name: str) -> None:
    path, body, field = BAD_BODIES[name]
    status, document = await call(served, "POST", path, body)
    assert (status, document["code"], document["field"]) == (400, "bad_input", field)
    assert served.door.calls == []


async def test_a_secret_in_a_bad_body_is_not_echoed(served: Served) -> None:
    _, document = await call(
        served, "POST", "/operations", {"action": 5, "arguments": {}, "password-hunter2": "hunter3"}
    )
    assert "hunter3" not in json.dumps(document)


async def test_a_vote_on_another_plan_is_a_conflict(served: Served) -> None:
    await call(served, "POST", "/operations", {"action": "wipe", "arguments": {}})
    body = {"verdict": "approve", "digests": {"semantic_sha256": DIGEST, "inputs_sha256": DIGEST}}
    status, document = await call(served, "POST", "/operations/op_1/votes", body)
    assert (status, document["code"]) == (409, "conflict")


async def test_a_vote_carries_exactly_the_displayed_digests(served: Served) -> None:
    await call(served, "POST", "/operations", {"action": "wipe", "arguments": {}})
    shown = (await call(served, "GET", "/operations/op_1/plan"))[1]["digests"]
    digests = {name: shown[name] for name in ("semantic_sha256", "inputs_sha256")}
    status, document = await call(served, "POST", "/operations/op_1/votes", {"verdict": "approve", "digests": digests})
    assert status == 200 and document["status"] == "queued"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=x", "limit"),
        ("limit=1&limit=2", "limit"),
        ("nothing=1", "nothing"),
        ("state=weird", "state"),
        ("target=%ff", "query"),
        ("a=1&" * 40, "query"),
    ],
)
async def test_a_bad_query_names_the_field(served: Served, query: str, field: str) -> None:
    status, document = await call(served, "GET", "/operations?" + query)
    assert (status, document["code"], document["field"]) == (400, "bad_input", field)


async def test_filters_and_pages_are_passed_on(served: Served) -> None:
    await call(served, "POST", "/operations", NEW)
    path = "/operations?state=queued&state=running&target=web-1&before=op_9&limit=1"
    status, document = await call(served, "GET", path)
    assert status == 200 and document["next_before"] == "op_1"
    assert served.door.calls[-1] == (("queued", "running"), "web-1", "op_9", 1)


async def test_audit_pages_by_sequence_number(served: Served) -> None:
    assert (await call(served, "GET", "/audit?limit=3"))[1]["next_since"] == 3
    rest = (await call(served, "GET", "/audit?since=3&limit=3"))[1]
    assert [entry["seq"] for entry in rest["entries"]] == [3, 4] and rest["next_since"] is None


async def test_people_see_obligations(served: Served) -> None:
    _, document = await call(served, "POST", "/operations", NEW)
    assert HIDDEN in json.dumps(document["obligations"]) and document["effect_declared"] == "change"


async def test_paths_and_methods_that_are_not_served(served: Served) -> None:
    assert (await call(served, "GET", "/nothing"))[0] == 404
    assert (await call(served, "GET", "/operations/a%2Fb"))[0] == 404
    assert (await call(served, "GET", "/operations/" + "x" * 200))[0] == 404
    async with served.client("human") as client:
        response = await client.delete(PREFIX + "/operations")
    assert response.status_code == 405 and response.headers["allow"] == "POST, GET"


async def test_json_is_strict_here_too(served: Served) -> None:
    async with served.client("human") as client:
        for body in (b'{"action":"a","action":"b","arguments":{}}', b'{"action":NaN}', b"\xff", b"[" * 5000):
            response = await client.post(
                PREFIX + "/operations", content=body, headers={"content-type": "application/json"}
            )
            assert response.status_code == 400 and response.json()["code"] == "bad_json"
        large = await client.post(
            PREFIX + "/operations", json={"action": "deploy", "arguments": {"t": "x" * 2_000_000}}
        )
        assert large.status_code == 413 and large.json()["code"] == "body_too_large"
