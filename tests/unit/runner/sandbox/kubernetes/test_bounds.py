"""What a cluster must refuse a runner, tried without making anything; and what counts as a refusal."""

from __future__ import annotations

import pytest
from tests.unit.runner.sandbox.kubernetes.conftest import Answer, ScriptedServer, status_of

from lockgate.runner.sandbox.kubernetes import objects
from lockgate.runner.sandbox.kubernetes.api import Api
from lockgate.runner.sandbox.kubernetes.bounds import check_inside, check_names, forbidden
from lockgate.runner.sandbox.port import SandboxUnavailable

LIST = "/api/v1/namespaces"
DRAW = "0" * 32
RUN = f"lockgate-run-{DRAW}"
USER = "runner-by-certificate"
NO = Answer(403, status_of("Forbidden", "ValidatingAdmissionPolicy 'lockgate-runners' denied request"))
MADE = Answer(201, {"kind": "Namespace"})
MANY = len(forbidden(USER, DRAW))


async def test_a_cluster_that_refuses_every_one_holds_its_runner_and_nothing_was_made(
    server: ScriptedServer, api: Api
) -> None:
    server.answers("POST", LIST, *[NO] * MANY)
    await check_names(api, USER, DRAW)
    assert server.paths() == [f"POST {LIST}?dryRun=All"] * MANY
    names = [one.body["metadata"]["name"] for one in server.asked]
    assert sorted(names) == sorted([f"lockgate-probe-{DRAW}", *[RUN] * (MANY - 1)])


def test_each_of_an_attempt_is_but_for_one_thing_as_it_must_be() -> None:
    """So a refusal is for that one thing."""
    ours = objects.namespace(RUN, "probe", USER, {"lockgate.dev/mark": "a probe"})["metadata"]

    def differs(document: object) -> list[str]:
        metadata = document["metadata"]  # type: ignore[index]
        found = [name for name in ("name", "annotations") if metadata[name] != ours[name]]
        keys = {**ours["labels"], **metadata["labels"]}
        return found + [key for key in keys if metadata["labels"].get(key) != ours["labels"].get(key)]

    plain, *like_ours = forbidden(USER, DRAW).values()
    assert plain["metadata"] == {"name": f"lockgate-probe-{DRAW}"}
    assert [differs(each) for each in like_ours] == [
        [objects.RUN_LABEL],
        ["annotations"],
        ["pod-security.kubernetes.io/enforce"],
        ["example.com/ignore"],
    ]


@pytest.mark.parametrize("let_through", range(MANY))
async def test_one_that_would_be_made_says_that_nothing_but_rbac_holds_this_runner_and_whom_the_policy_means(
    server: ScriptedServer, api: Api, let_through: int
) -> None:
    server.answers("POST", LIST, *[MADE if number == let_through else NO for number in range(MANY)])
    with pytest.raises(SandboxUnavailable, match="nothing but RBAC holds it") as refused:
        await check_names(api, USER, DRAW)
    assert USER in refused.value.fix
    assert "lockgate:runners" in refused.value.fix
    assert "admission.yaml" in refused.value.fix


@pytest.mark.parametrize(
    "answer", [Answer(422, status_of("Invalid", "bad")), Answer(400, status_of("BadRequest", "bad")), Answer(404, {})]
)
async def test_an_answer_that_is_no_refusal_is_no_hold(server: ScriptedServer, api: Api, answer: Answer) -> None:
    server.answers("POST", LIST, answer, *[NO] * MANY)
    with pytest.raises(SandboxUnavailable, match="does not say"):
        await check_names(api, USER, DRAW)


async def test_what_is_in_a_namespace_is_held_when_its_maker_gets_no_secret_with_a_token(
    server: ScriptedServer, api: Api
) -> None:
    path = f"{LIST}/{RUN}/secrets"
    server.answers("POST", path, NO, Answer(201, {"kind": "Secret"}))
    await check_inside(api, RUN)
    with pytest.raises(SandboxUnavailable, match="a secret with a token") as refused:
        await check_inside(api, RUN)
    assert "admission.yaml" in refused.value.fix
    assert server.paths() == [f"POST {path}?dryRun=All"] * 2
