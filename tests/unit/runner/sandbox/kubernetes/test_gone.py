"""Kubelets are asked what they run, each with a token that can do nothing else; whoever does not say has not said that nothing runs."""

from __future__ import annotations

import asyncio
import ssl
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from lockgate.keys.pki import CertificateAuthority
from lockgate.runner.sandbox.kubernetes.access import Access, Token
from lockgate.runner.sandbox.kubernetes.api import Api
from lockgate.runner.sandbox.kubernetes.cluster import PodRef
from lockgate.runner.sandbox.kubernetes.gone import (
    MAX_ANSWER_BYTES,
    STALE_SECONDS,
    Account,
    KubeletNodes,
    Unanswered,
    running,
)

TOKEN = "/api/v1/namespaces/lockgate/serviceaccounts/look/token"
RUNNING = "/runningpods/"
POD, OTHER = PodRef("uid-1", "node-1"), PodRef("uid-2", "node-1")
LOOK = Account("lockgate", "look")
SPACE = "lockgate-run-" + "a" * 32


def pods(*uids: str, namespace: str = "shop") -> dict[str, Any]:
    items = [{"metadata": {"name": "p", "namespace": namespace, "uid": uid}} for uid in uids]
    return {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items or None}


def node(server: Any, **status: Any) -> dict[str, Any]:
    host, port = server.url.removeprefix("https://").split(":")
    said = {
        "addresses": [{"type": "Hostname", "address": "node-1"}, {"type": "InternalIP", "address": host}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": int(port)}},
    }
    return {"metadata": {"name": "node-1"}, "status": {**said, **status}}


@pytest.fixture
def kubelet(server: Any, answer: Any) -> Any:
    """The one server plays the API server and the kubelet of node-1; a test says what runs there."""
    for _ in range(21):
        server.answers("POST", TOKEN, answer(document={"status": {"token": "a-token-to-look"}}))
        server.answers("GET", "/api/v1/nodes/node-1", answer(document=node(server)))
    return server


@pytest.fixture
def answer() -> Any:
    from tests.unit.runner.sandbox.kubernetes.conftest import Answer

    return Answer


def nodes(api: Api, seconds: float = 0.0, stale: float = 0.0) -> KubeletNodes:
    return KubeletNodes(api, LOOK, seconds, stale=stale)


async def test_what_no_kubelet_runs_is_gone_and_kubelets_see_no_token_of_the_runner(
    kubelet: Any, answer: Any, api: Api
) -> None:
    kubelet.answers("GET", RUNNING, answer(document=pods()), answer(document=pods("uid-9")))
    asking = nodes(api)
    assert await asking.run_none_of([POD, OTHER])
    assert await asking.run_none_in(SPACE, [POD])
    shown = {one.path: one.headers["authorization"] for one in kubelet.asked}
    assert shown[RUNNING] == "Bearer a-token-to-look"
    assert set(shown.values()) == {"Bearer a-token-to-look", "Bearer first-token"}
    assert sum(one.path == TOKEN for one in kubelet.asked) == 1, "a token is used for a while"


async def test_what_still_ends_is_waited_for(kubelet: Any, answer: Any, api: Api) -> None:
    kubelet.answers("GET", RUNNING, answer(document=pods("uid-1")), answer(document=pods("uid-3")))
    assert await nodes(api, 30.0).run_none_of([POD])


async def test_an_answer_that_may_be_older_than_the_pod_proves_nothing(kubelet: Any, answer: Any, api: Api) -> None:
    kubelet.answers("GET", RUNNING, answer(document=pods()), answer(document=pods("uid-1")))
    assert not await nodes(api, stale=0.2).run_none_of([POD])


async def test_an_answer_counts_from_when_it_was_asked_for(kubelet: Any, answer: Any, api: Api) -> None:
    now, held = 0.0, asyncio.Event()
    kubelet.answers("GET", RUNNING, answer(document=pods(), holds=held), answer(document=pods("uid-1")))
    asking = asyncio.create_task(KubeletNodes(api, LOOK, 0.0, lambda: now).run_none_of([POD]))
    await kubelet.has_heard(RUNNING, 1)
    now = 60.0
    held.set()
    assert not await asking, "it was a minute on its way, and tells what was before that"


async def test_what_was_seen_to_run_long_enough_ago_is_looked_for_once(kubelet: Any, answer: Any, api: Api) -> None:
    kubelet.answers("GET", RUNNING, answer(document=pods()), answer(document=pods()), answer(document=pods("uid-1")))
    asking = KubeletNodes(api, LOOK, 0.0, lambda: 100.0)
    seen = replace(POD, ran_by=100.0 - STALE_SECONDS)
    assert await asking.run_none_of([seen])
    assert await asking.run_none_in(SPACE, [seen], closed=100.0 - STALE_SECONDS)
    assert sum(one.path == RUNNING for one in kubelet.asked) == 1, "both asked at one moment of this clock"


async def test_a_namespace_that_was_open_a_moment_ago_may_hold_what_no_answer_shows_yet(
    kubelet: Any, answer: Any, api: Api
) -> None:
    kubelet.answers("GET", RUNNING, answer(document=pods()), answer(document=pods("uid-7", namespace=SPACE)))
    asking = nodes(api, stale=0.2)
    now = asking.now()
    assert not await asking.run_none_in(SPACE, [replace(POD, ran_by=now - 60)], closed=now)


async def test_what_ends_at_once_is_asked_for_at_once(kubelet: Any, answer: Any, api: Api) -> None:
    held = asyncio.Event()
    kubelet.answers("GET", RUNNING, answer(document=pods(), holds=held), answer(document=pods()))
    asking = nodes(api, 30.0)
    seen = replace(POD, ran_by=asking.now() - 60)
    first = asyncio.create_task(asking.run_none_of([seen]))
    await kubelet.has_heard(RUNNING, 1)
    others = [asyncio.create_task(asking.run_none_of([seen])) for _ in range(20)]
    await kubelet.has_heard("/api/v1/nodes/node-1", 21)
    held.set()
    assert all(await asyncio.gather(first, *others))
    assert sum(one.path == RUNNING for one in kubelet.asked) == 2, "one answer serves all who asked before it"


async def test_what_runs_is_not_gone(kubelet: Any, answer: Any, api: Api) -> None:
    kubelet.answers("GET", RUNNING, answer(document=pods("uid-3", "uid-1")))
    assert not await nodes(api).run_none_of([POD])


async def test_another_pod_of_the_attempt_does_not_hold_this_one_but_holds_its_namespace(
    kubelet: Any, answer: Any, api: Api
) -> None:
    kubelet.answers("GET", RUNNING, *(answer(document=pods("uid-7", namespace=SPACE)) for _ in range(2)))
    assert await nodes(api).run_none_of([POD])
    assert not await nodes(api).run_none_in(SPACE, [POD])


SILENCES: dict[str, Any] = {
    "may not be asked": {"status": 403, "document": {"message": "Forbidden"}},
    "fails": {"status": 500, "document": {}},
    "leads elsewhere": {"status": 302, "headers": {"location": "https://example.com/"}, "document": {}},
    "lists something else": {"document": {"kind": "NodeList", "items": []}},
    "lists nothing": {"document": {"kind": "PodList"}},
    "lists no objects": {"document": {"kind": "PodList", "items": [1]}},
    "tells of a pod without a name": {"document": {"kind": "PodList", "items": [{"metadata": {}}]}},
    "is cut off": {"document": pods(), "ends": False},
    "tells too much": {"document": {"kind": "x" * MAX_ANSWER_BYTES}},
}


@pytest.mark.parametrize("what", SILENCES)
async def test_nothing_is_gone_where_a_kubelet(kubelet: Any, answer: Any, api: Api, what: str) -> None:
    kubelet.answers("GET", RUNNING, answer(**SILENCES[what]))
    assert not await nodes(api).run_none_of([POD])


async def test_nothing_is_gone_where_the_node_is_not_known(server: Any, answer: Any, api: Api) -> None:
    server.answers("GET", "/api/v1/nodes/node-1", answer(document=node(server, addresses=[])))
    assert not await nodes(api).run_none_of([POD]), "it does not say where it is"
    assert not await nodes(api).run_none_of([POD]), "there is none of that name any more"
    assert [one.path for one in server.asked if one.path == RUNNING] == []


async def test_nothing_is_gone_without_a_token_to_ask_with(server: Any, answer: Any, api: Api) -> None:
    server.answers("GET", "/api/v1/nodes/node-1", answer(document=node(server)))
    server.answers("POST", TOKEN, answer(403, {"reason": "Forbidden", "message": "cannot create"}))
    assert not await nodes(api).run_none_of([POD])


async def test_a_kubelet_that_no_authority_of_the_cluster_vouches_for_is_not_believed(
    kubelet: Any, answer: Any, token_file: Path
) -> None:
    kubelet.answers("GET", RUNNING, answer(document=pods()))
    stranger = CertificateAuthority.create("elsewhere", int(time.time() * 1000)).issued.certificate.decode()
    api = Api(Access(kubelet.url, ssl.create_default_context(cadata=stranger), Token(token_file)))
    place = kubelet.url.removeprefix("https://")
    async with httpx2.AsyncClient(verify=nodes(api).context(), trust_env=False) as client:
        with pytest.raises(Unanswered):
            await running(client, place, "a-token-to-look")
    await api.close()
    assert kubelet.asked == [], "nor shown the token"


async def test_where_nobody_remembers_the_pods_every_node_is_asked(kubelet: Any, answer: Any, api: Api) -> None:
    second = node(kubelet, addresses=[{"type": "InternalIP", "address": "localhost"}])
    for _ in range(2):
        kubelet.answers("GET", "/api/v1/nodes", answer(document={"items": [node(kubelet), second]}))
    kubelet.answers("GET", RUNNING, *(answer(document=pods()) for _ in range(3)))
    kubelet.answers("GET", RUNNING, answer(document=pods("uid-7", namespace=SPACE)))
    assert await nodes(api).run_none_in(SPACE, [])
    assert not await nodes(api).run_none_in(SPACE, []), "one of two runs something of it"


async def test_more_nodes_than_can_be_asked_prove_nothing(kubelet: Any, answer: Any, api: Api) -> None:
    kubelet.answers(
        "GET", "/api/v1/nodes", answer(document={"items": [node(kubelet)], "metadata": {"continue": "more"}})
    )
    kubelet.answers("GET", RUNNING, answer(document=pods()))
    assert not await nodes(api).run_none_in(SPACE, [])


def named(name: str, uid: str, server: Any) -> dict[str, Any]:
    found = node(server)
    found["metadata"] = {"name": name, "uid": uid}
    return found


async def test_another_node_of_the_same_name_knows_nothing_of_what_the_first_one_ran(
    kubelet: Any, answer: Any, api: Api
) -> None:
    kubelet.script["GET", "/api/v1/nodes/node-1"] = [answer(document=named("node-1", "n1", kubelet)) for _ in range(2)]
    kubelet.answers("GET", RUNNING, *(answer(document=pods()) for _ in range(2)))
    assert not await nodes(api).run_none_of([PodRef("uid-1", "node-1", node_uid="n0")])
    assert await nodes(api).run_none_of([PodRef("uid-1", "node-1", node_uid="n1")])


async def test_a_node_that_had_a_pod_and_is_gone_is_missed_among_all_nodes(kubelet: Any, answer: Any, api: Api) -> None:
    every = {"items": [named("node-1", "n1", kubelet)]}
    kubelet.answers("GET", "/api/v1/nodes", *(answer(document=every) for _ in range(2)))
    kubelet.answers("GET", RUNNING, *(answer(document=pods()) for _ in range(2)))
    assert not await nodes(api).run_none_in(SPACE, [PodRef("uid-1", "node-2")], whole=False)
    assert await nodes(api).run_none_in(SPACE, [PodRef("uid-1", "node-1", node_uid="n1")], whole=False)


async def test_where_others_may_have_been_every_node_is_asked(kubelet: Any, answer: Any, api: Api) -> None:
    every = {"items": [named("node-1", "n1", kubelet), named("node-2", "n2", kubelet)]}
    kubelet.answers("GET", "/api/v1/nodes", answer(document=every))
    kubelet.answers("GET", RUNNING, answer(document=pods("uid-7", namespace=SPACE)))
    assert not await nodes(api).run_none_in(SPACE, [POD], whole=False)
    assert "/api/v1/nodes?limit=1000" in [one.path for one in kubelet.asked]


async def test_the_uid_of_a_node_that_may_not_be_read_is_none(kubelet: Any, api: Api) -> None:
    assert await nodes(api).uid_of("node-7") == ""
