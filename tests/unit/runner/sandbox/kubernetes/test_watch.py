"""One watch of a namespace's pods, through cuts, versions that are too old, and the end of the namespace; on a real HTTPS server."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import structlog
from tests.unit.runner.sandbox.kubernetes.conftest import Answer, ScriptedServer, status_of

from lockgate.runner.sandbox.kubernetes import access
from lockgate.runner.sandbox.kubernetes import api as asking
from lockgate.runner.sandbox.kubernetes import watch as watching
from lockgate.runner.sandbox.kubernetes.api import Api, ApiRefused, ApiUnavailable
from lockgate.runner.sandbox.kubernetes.watch import PodWatch

PODS = "/api/v1/namespaces/lockgate-run-0/pods"
SECONDS = 60.0


def pod(uid: str, phase: str, version: str) -> dict[str, Any]:
    return {"metadata": {"name": "stage-1", "uid": uid, "resourceVersion": version}, "status": {"phase": phase}}


def event(kind: str, document: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, "object": document}


def phase(wanted: str):
    return lambda pod: (
        True if (pod is None and wanted == "gone") or (pod is not None and pod["status"]["phase"] == wanted) else None
    )


@pytest.fixture
async def watch(api: Api):
    made = PodWatch(api, "lockgate-run-0")
    yield made
    await made.close()


async def test_a_cut_watch_goes_on_where_it_was(server: ScriptedServer, watch: PodWatch):
    server.answers(
        "GET",
        PODS,
        Answer(events=[event("ADDED", pod("u1", "Pending", "11"))], ends=False),
        Answer(events=[event("MODIFIED", pod("u1", "Running", "12"))], holds=asyncio.Event()),
    )
    watch.open()
    assert await watch.until("u1", phase("Running"), SECONDS)
    assert "resourceVersion=11" in server.asked[1].path
    assert (watch.watches, watch.lists) == (2, 0)


async def test_a_version_that_is_too_old_leads_to_a_list_and_what_is_not_in_it_is_gone(
    server: ScriptedServer, watch: PodWatch
):
    server.answers(
        "GET",
        PODS,
        Answer(events=[event("ADDED", pod("u1", "Running", "11")), event("ADDED", pod("u2", "Running", "12"))]),
        Answer(410, status_of("Expired", "too old resource version")),
        Answer(document={"metadata": {"resourceVersion": "40"}, "items": [pod("u2", "Failed", "33")]}),
        Answer(events=[], holds=asyncio.Event()),
    )
    watch.open()
    assert await watch.until("u2", phase("Failed"), SECONDS)
    assert await watch.until("u1", phase("gone"), SECONDS)
    assert watch.lists == 1
    while len(server.asked) < 4:  # noqa: ASYNC110 - the server has no event for it
        await asyncio.sleep(0.01)
    assert "resourceVersion=40" in server.asked[3].path


async def test_a_pod_that_was_just_made_is_not_taken_for_gone(server: ScriptedServer, watch: PodWatch):
    told = asyncio.Event()
    server.answers("GET", PODS, Answer(events=[], holds=told), Answer(events=[], holds=asyncio.Event()))
    watch.open()
    await watch.knows(pod("u1", "Pending", "11"))
    assert await watch.until("u1", phase("gone"), 0.05) is None
    assert await watch.until("u1", phase("Pending"), SECONDS)


async def test_a_pod_that_somebody_deletes_is_gone(server: ScriptedServer, watch: PodWatch):
    server.answers(
        "GET",
        PODS,
        Answer(
            events=[event("ADDED", pod("u1", "Running", "11")), event("DELETED", pod("u1", "Running", "12"))],
            holds=asyncio.Event(),
        ),
    )
    watch.open()
    assert await watch.until("u1", phase("gone"), SECONDS)


async def test_a_role_that_is_not_known_yet_is_waited_for_and_one_that_is_taken_away_is_told(
    server: ScriptedServer, watch: PodWatch, monkeypatch: pytest.MonkeyPatch
):
    forbidden = Answer(403, status_of("Forbidden", "cannot watch"))
    server.answers("GET", PODS, forbidden, Answer(document={"metadata": {"resourceVersion": "1"}, "items": []}))
    server.answers("GET", PODS, Answer(events=[event("ADDED", pod("u1", "Running", "11"))]), *[forbidden] * 50)
    watch.open()
    assert await watch.until("u1", phase("Running"), SECONDS)
    monkeypatch.setattr(watching, "FIRST_SECONDS", 0.0)
    later = PodWatch(watch._api, "lockgate-run-0")
    later.open()
    with pytest.raises(ApiRefused, match="cannot watch"):
        await later.until("u1", phase("Running"), SECONDS)
    await later.close()


async def test_a_server_that_comes_back_without_its_roles_is_waited_for(
    server: ScriptedServer, watch: PodWatch, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(watching, "FIRST_SECONDS", 0.0)
    dies = asyncio.Event()
    server.answers(
        "GET",
        PODS,
        Answer(events=[event("ADDED", pod("u1", "Pending", "11"))], holds=dies, ends=False),
        Answer(403, status_of("Forbidden", "cannot watch")),
        Answer(events=[event("MODIFIED", pod("u1", "Running", "12"))], holds=asyncio.Event()),
    )
    watch.open()
    assert await watch.until("u1", phase("Pending"), SECONDS)
    monkeypatch.setattr(watching, "FIRST_SECONDS", SECONDS)
    dies.set()
    assert await watch.until("u1", phase("Running"), SECONDS)


async def test_a_credential_that_cannot_be_read_for_a_while_is_told_and_the_watch_goes_on(
    server: ScriptedServer, watch: PodWatch, token_file: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(watching, "_PAUSES", (0.001,))
    monkeypatch.setattr(access, "TOKEN_SECONDS", 0.0)
    monkeypatch.setattr(asking, "PATIENCE_SECONDS", 0.0)  # a list tries again for half a minute, each time
    server.answers("GET", PODS, Answer(document={"metadata": {"resourceVersion": "10"}, "items": []}))
    server.answers("GET", PODS, Answer(events=[event("ADDED", pod("u1", "Running", "11"))], holds=asyncio.Event()))
    token_file.rename(token_file.with_name("away"))
    with structlog.testing.capture_logs() as said:
        watch.open()
        while not said:  # noqa: ASYNC110 - a log line has no event
            await asyncio.sleep(0.001)
        token_file.with_name("away").rename(token_file)
        assert await watch.until("u1", phase("Running"), SECONDS)
    assert [line["event"] for line in said] == ["pods cannot be watched"]
    assert "cannot be read" in said[0]["error"]


async def test_a_watch_that_breaks_is_told_and_so_are_those_who_wait(server: ScriptedServer, watch: PodWatch):
    """Something that no API server says: a pod without a name for itself."""
    server.answers("GET", PODS, Answer(events=[{"type": "ADDED", "object": {"metadata": ["odd"]}}]))
    with structlog.testing.capture_logs() as said:
        watch.open()
        with pytest.raises(ApiUnavailable, match="AttributeError"):
            await asyncio.wait_for(watch.until("u1", phase("Running"), None), 30)
    assert [(line["event"], line["log_level"]) for line in said] == [("watch of pods broke", "error")]


async def test_a_watch_that_is_closed_tells_those_who_still_wait(server: ScriptedServer, watch: PodWatch):
    server.answers("GET", PODS, Answer(events=[], holds=asyncio.Event()))
    watch.open()
    while not server.asked:  # noqa: ASYNC110 - the server has no event for it
        await asyncio.sleep(0.001)
    waiting = asyncio.create_task(watch.until("u1", phase("Running"), None))
    await asyncio.sleep(0)
    await watch.close()
    with pytest.raises(ApiUnavailable, match="watch of"):
        await asyncio.wait_for(waiting, 60)
