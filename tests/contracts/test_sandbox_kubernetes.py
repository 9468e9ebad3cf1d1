"""The sandbox contract on pods of a real cluster, escape attempts included, by a provider that has a runner's own rights there and no more."""

import asyncio
import secrets
from functools import partial
from pathlib import Path

import pytest
from tests.cluster.attempts import made_marks
from tests.cluster.identity import Identity, runner_identity
from tests.cluster.running import Cluster

from lockgate.runner.image.archive import Image
from lockgate.runner.sandbox.kubernetes.opening import Wanted, open_kubernetes
from lockgate.runner.sandbox.kubernetes.provider import SHOWS, KubernetesSandbox
from lockgate.runner.sandbox.kubernetes.settings import KubernetesSettings
from lockgate.runner.sandbox.port import SandboxCapabilities
from lockgate.runner.sandbox.runtime_root import INSIDE, JobRoot
from lockgate.runner.sandbox.uids import UidRange
from lockgate.testing.sandbox import CHECKS, Bench

pytestmark = [pytest.mark.kubernetes, pytest.mark.node, pytest.mark.slow]

AT_ONCE = 4
SECONDS = 400.0


@pytest.fixture(scope="module")
def runner(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return runner_identity(cluster, tmp_path_factory.mktemp("runner"))


def provider(cluster: Cluster, who: Identity, image: str) -> KubernetesSandbox:
    """One runner process of a name of its own."""
    name = f"suite-{secrets.token_hex(4)}"
    settings = KubernetesSettings(channel_address=cluster.node_ip, kubeconfig=who.kubeconfig, image_pull="Never")
    return open_kubernetes(settings, Wanted(name, image, {}, UidRange()), partial(made_marks, name))


@pytest.fixture(scope="module")
def suite(
    cluster: Cluster, runner: Identity, job_image: Image, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """Every check's outcome: "" when it held, else what got through; each with a provider and an enclosure of its own."""
    base = tmp_path_factory.mktemp("shown")

    async def one(name: str, turn: asyncio.Semaphore) -> str:
        async with turn:
            made = provider(cluster, runner, job_image.pinned)
            place = base / name
            place.mkdir()
            try:
                bench = Bench(made, JobRoot(Path(INSIDE), "", {}), place, copies=True, shows=SHOWS)
                await asyncio.wait_for(CHECKS[name](bench), SECONDS)
            except Exception as error:  # noqa: BLE001 - the boundary of a suite: every failure is an outcome
                return f"{type(error).__name__}: {error}"
            finally:
                await made.close()
            return ""

    async def everything() -> dict[str, str]:
        turn = asyncio.Semaphore(AT_ONCE)
        return dict(zip(CHECKS, await asyncio.gather(*(one(name, turn) for name in CHECKS)), strict=True))

    return asyncio.run(everything())


@pytest.mark.parametrize("name", tuple(CHECKS))
def test_a_pod_withstands(suite: dict[str, str], name: str) -> None:
    assert suite[name] == ""


async def test_a_probe_runs_a_pod_and_says_what_holds_and_what_a_pod_cannot_do(
    cluster: Cluster, runner: Identity, job_image: Image
) -> None:
    made = provider(cluster, runner, job_image.pinned)
    said: SandboxCapabilities = await made.probe()
    await made.close()
    assert (said.isolated, said.uid_shared, said.copies, said.shows) == (True, False, True, SHOWS)
    assert said.version == job_image.digest
    assert "none" not in said.limits.values()
    assert said.notes == ()
