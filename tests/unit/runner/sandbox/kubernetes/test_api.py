"""The client against a real HTTPS server: what is tried again, how long, and what never is."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.unit.runner.sandbox.kubernetes.conftest import Answer, ScriptedServer, status_of

from lockgate.runner.sandbox.kubernetes import api as client
from lockgate.runner.sandbox.kubernetes.api import Api, ApiRefused, ApiUnavailable

PODS = "/api/v1/namespaces/lockgate-run-0/pods"


def pod(name: str, version: str = "7", uid: str = "u1") -> dict:
    return {"metadata": {"name": name, "uid": uid, "resourceVersion": version}}


async def test_a_busy_server_is_asked_again_when_it_says(
    server: ScriptedServer, api: Api, monkeypatch: pytest.MonkeyPatch
):
    waited = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr("lockgate.runner.sandbox.kubernetes.api.asyncio.sleep", sleep)
    busy = Answer(429, status_of("TooManyRequests", "later"), {"retry-after": "3"})
    server.answers("POST", PODS, busy, busy, Answer(201, pod("stage-1")))
    assert (await api.create(PODS, {"metadata": {"name": "stage-1"}}))["metadata"]["uid"] == "u1"
    assert waited == [3.0, 3.0]
    assert len(server.asked) == 3


async def test_a_server_that_stays_busy_is_given_up(server: ScriptedServer, api: Api, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(client, "PATIENCE_SECONDS", 5.0)
    server.answers("GET", PODS, *[Answer(429, status_of("TooManyRequests", "later"), {"retry-after": "9"})] * 3)
    with pytest.raises(ApiRefused, match="later") as refused:
        await api.get(PODS)
    assert (refused.value.status, len(server.asked)) == (429, 1)


async def test_a_no_is_not_asked_again(server: ScriptedServer, api: Api):
    causes = {"causes": [{"reason": "NamespaceTerminating"}]}
    server.answers("POST", PODS, Answer(403, status_of("Forbidden", "no", details=causes)), Answer(201, pod("stage-1")))
    with pytest.raises(ApiRefused) as refused:
        await api.create(PODS, {"metadata": {"name": "stage-1"}})
    assert refused.value.causes == ("NamespaceTerminating",)
    assert len(server.asked) == 1


async def test_a_refused_token_is_read_again_once(server: ScriptedServer, api: Api, token_file: Path):
    refused = Answer(401, status_of("Unauthorized", "expired"))
    server.answers(
        "GET", PODS, Answer(document={"items": []}), refused, Answer(document={"items": []}), refused, refused
    )
    await api.get(PODS)
    token_file.write_text("second-token")
    await api.get(PODS)
    assert [one.headers["authorization"] for one in server.asked] == ["Bearer first-token"] * 2 + [
        "Bearer second-token"
    ]
    with pytest.raises(ApiRefused, match="expired"):
        await api.get(PODS)
    assert len(server.asked) == 5


OURS = {"metadata": {"name": "stage-1", "labels": {"stage": "1"}, "annotations": {"sandbox": "ab" * 16}}}
TAKEN = Answer(409, status_of("AlreadyExists", "exists"))
CUT = Answer(201, events=[pod("stage-1")], ends=False)
"""The connection is cut in the middle of the answer: the pod exists, and nobody heard."""


def made(**changes: Any) -> Answer:
    metadata = {"uid": "the one that was made"} | OURS["metadata"] | changes
    return Answer(document={"metadata": metadata})


@pytest.mark.parametrize(
    "lost", [CUT, Answer(504, status_of("Timeout", "not in time")), Answer(500, status_of("ServerTimeout", "etcd"))]
)
async def test_what_a_lost_answer_had_made_is_taken_and_not_called_a_conflict(
    server: ScriptedServer, api: Api, lost: Answer
):
    server.answers("POST", PODS, lost, TAKEN)
    server.answers("GET", f"{PODS}/stage-1", made())
    assert (await api.create(PODS, OURS, readable=True))["metadata"]["uid"] == "the one that was made"


async def test_what_somebody_else_had_made_is_a_conflict(server: ScriptedServer, api: Api):
    server.answers("POST", PODS, TAKEN)
    with pytest.raises(ApiRefused, match="AlreadyExists"):
        await api.create(PODS, OURS, readable=True)
    assert [one.method for one in server.asked] == ["POST"]


@pytest.mark.parametrize(
    "changes",
    [
        {"annotations": {"sandbox": "cd" * 16}},
        {"annotations": None},
        {"labels": {}},
        {"deletionTimestamp": "2026-11-27T00:00:00Z"},
    ],
)
async def test_what_does_not_carry_what_only_we_knew_is_a_conflict_also_after_a_lost_answer(
    server: ScriptedServer, api: Api, changes: dict[str, Any]
):
    server.answers("POST", PODS, CUT, TAKEN)
    server.answers("GET", f"{PODS}/stage-1", made(**changes))
    with pytest.raises(ApiRefused, match="AlreadyExists"):
        await api.create(PODS, OURS, readable=True)


async def test_what_may_not_be_read_is_a_conflict_and_nobody_tries_to(server: ScriptedServer, api: Api):
    """Secrets, policies, quotas: a runner may make them and never look at one."""
    server.answers("POST", PODS, CUT, TAKEN)
    with pytest.raises(ApiRefused, match="AlreadyExists"):
        await api.create(PODS, OURS)
    assert [one.method for one in server.asked] == ["POST", "POST"]


async def test_after_what_was_certainly_not_heard_it_is_somebody_elses(
    server: ScriptedServer, api: Api, monkeypatch: pytest.MonkeyPatch
):
    """A connection that could not be made, and a server that was too busy, have made nothing."""
    once, failures = (
        api._once,
        [httpx2.ConnectError("refused"), httpx2.ConnectTimeout("slow"), httpx2.PoolTimeout("full")],
    )

    async def unreachable(*asked: Any) -> Any:
        if failures:
            raise failures.pop()
        return await once(*asked)

    monkeypatch.setattr(api, "_once", unreachable)
    server.answers("POST", PODS, Answer(429, status_of("TooManyRequests", "later"), {"retry-after": "0"}), TAKEN)
    server.answers("GET", f"{PODS}/stage-1", made())
    with pytest.raises(ApiRefused, match="AlreadyExists"):
        await api.create(PODS, OURS, readable=True)
    assert not failures


async def test_watches_take_no_connection_from_what_must_be_ended(
    server: ScriptedServer, api: Api, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(client, "MAX_CONNECTIONS", 1)
    monkeypatch.setattr(client, "REQUEST_SECONDS", 2.0)
    monkeypatch.setattr(client, "PATIENCE_SECONDS", 0.0)
    few, on = Api(api.access), asyncio.Event()
    server.answers("GET", PODS, Answer(events=[{"type": "ADDED", "object": pod("a")}], holds=on))
    server.answers("DELETE", f"{PODS}/stage-1", Answer(document=pod("stage-1")))
    watch = few.watch(PODS, {})
    assert (await anext(watch))["type"] == "ADDED"
    assert await few.delete(f"{PODS}/stage-1") == pod("stage-1")
    on.set()
    assert [event async for event in watch] == []
    await few.close()


async def test_a_tokens_file_that_is_not_there_for_a_moment_is_waited_for(
    server: ScriptedServer, api: Api, token_file: Path
):
    token_file.unlink()
    server.answers("GET", PODS, Answer(document={"items": []}))
    asked = asyncio.create_task(api.get(PODS))
    await asyncio.sleep(0.1)
    token_file.write_text("second-token")
    assert await asked == {"items": []}
    token_file.unlink()
    with pytest.raises(ApiUnavailable, match="no token to show"):
        api._who(anew=True)


async def test_what_is_gone_already_needs_no_end(server: ScriptedServer, api: Api):
    assert await api.delete(f"{PODS}/stage-1", {"preconditions": {"uid": "u1"}}) is None
    assert server.asked[0].body["preconditions"] == {"uid": "u1"}


async def test_an_answer_without_end_is_cut_off(server: ScriptedServer, api: Api, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(client, "MAX_ANSWER_BYTES", 1000)
    monkeypatch.setattr(client, "PATIENCE_SECONDS", 0.0)
    server.answers("GET", PODS, Answer(document={"items": ["x" * 2000]}))
    with pytest.raises(ApiUnavailable, match="more than 1000 bytes"):
        await api.get(PODS)


async def test_a_server_that_is_not_the_clusters_is_told_nothing(
    server: ScriptedServer, api: Api, monkeypatch: pytest.MonkeyPatch
):
    import ssl

    from lockgate.runner.sandbox.kubernetes.access import Access

    monkeypatch.setattr(client, "PATIENCE_SECONDS", 0.0)
    stranger = Api(Access(server.url, ssl.create_default_context(), api.access.token))
    with pytest.raises(ApiUnavailable, match="certificate"):
        await stranger.get(PODS)
    await stranger.close()
    assert server.asked == []


async def test_a_watch_tells_events_and_ends_with_the_servers_word(server: ScriptedServer, api: Api):
    server.answers(
        "GET",
        PODS,
        Answer(events=[{"type": "ADDED", "object": pod("a")}, {"type": "BOOKMARK", "object": pod("", "9")}]),
    )
    events = [event async for event in api.watch(PODS, {"resourceVersion": "7"})]
    assert [event["type"] for event in events] == ["ADDED", "BOOKMARK"]
    assert "watch=true" in server.asked[0].path and "resourceVersion=7" in server.asked[0].path


@pytest.mark.parametrize("in_the_stream", [True, False])
async def test_a_version_that_is_too_old_is_told_apart(server: ScriptedServer, api: Api, in_the_stream: bool):
    old = status_of("Expired", "too old resource version", code=410)
    answer = Answer(events=[{"type": "ERROR", "object": old}]) if in_the_stream else Answer(410, old)
    server.answers("GET", PODS, answer)
    with pytest.raises(ApiRefused) as refused:
        [event async for event in api.watch(PODS, {})]
    assert refused.value.status == 410


async def test_a_watch_reads_a_refused_token_again_once(server: ScriptedServer, api: Api, token_file: Path):
    """What has run for an hour is not lost because a token was renewed."""
    refused = Answer(401, status_of("Unauthorized", "expired"))
    server.answers("GET", PODS, refused, Answer(events=[{"type": "ADDED", "object": pod("a")}]), refused, refused)
    assert api.access.token is not None and api.access.token.value() == "first-token"
    token_file.write_text("second-token")
    assert [event["type"] async for event in api.watch(PODS, {})] == ["ADDED"]
    assert server.asked[1].headers["authorization"] == "Bearer second-token"
    with pytest.raises(ApiRefused, match="expired"):
        [event async for event in api.watch(PODS, {})]


async def test_a_watch_that_is_cut_is_no_end(server: ScriptedServer, api: Api):
    server.answers("GET", PODS, Answer(events=[{"type": "ADDED", "object": pod("a")}], ends=False))
    seen = []
    with pytest.raises(ApiUnavailable):
        async for event in api.watch(PODS, {}):
            seen.append(event["type"])
    assert seen == ["ADDED"]


async def test_an_event_without_end_is_cut_off(server: ScriptedServer, api: Api, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(client, "MAX_EVENT_BYTES", 1000)
    server.answers("GET", PODS, Answer(events=[{"type": "ADDED", "object": {"x": "x" * 5000}}], ends=False))
    with pytest.raises(ApiUnavailable):
        [event async for event in api.watch(PODS, {})]


async def test_no_token_stands_in_what_is_said_of_a_failure(server: ScriptedServer, api: Api):
    server.answers("GET", PODS, Answer(403, status_of("Forbidden", "no")))
    with pytest.raises(ApiRefused) as refused:
        await api.get(PODS)
    assert "first-token" not in str(refused.value) + repr(api.access) + json.dumps(str(vars(refused.value)))
