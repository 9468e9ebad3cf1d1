"""The sandbox contract on pods of a real cluster, escape attempts included, by a provider that has a runner's own rights there and no more."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest
from tests.cluster.identity import Identity, runner_identity
from tests.cluster.providers import made
from tests.cluster.running import Cluster

from lockgate.runner.image.archive import Image
from lockgate.runner.sandbox.kubernetes.provider import SHOWS
from lockgate.runner.sandbox.port import SandboxCapabilities
from lockgate.runner.sandbox.runtime_root import INSIDE, JobRoot
from lockgate.testing.sandbox import CHECKS, Bench

pytestmark = [pytest.mark.kubernetes, pytest.mark.node, pytest.mark.slow]

AT_ONCE = 4
SECONDS = 550.0
"""Of one check, and of waiting for it."""


@pytest.fixture(scope="module")
def runner(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return runner_identity(cluster, tmp_path_factory.mktemp("runner"))


@pytest.fixture(scope="module")
def suite(
    cluster: Cluster, runner: Identity, job_image: Image, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[str]]]:
    """Every check's outcome, in a loop of their own: "" when it held, else what got through; each with a provider and an enclosure of its own."""
    base, turn, loop = tmp_path_factory.mktemp("shown"), asyncio.Semaphore(AT_ONCE), asyncio.new_event_loop()

    async def one(name: str) -> str:
        async with turn:
            provider = made(cluster, runner, job_image.pinned)
            place = base / name
            place.mkdir()
            try:
                bench = Bench(provider, JobRoot(Path(INSIDE), "", {}), place, copies=True, shows=SHOWS)
                await asyncio.wait_for(CHECKS[name](bench), SECONDS)
            except Exception as error:  # noqa: BLE001 - the boundary of a suite: every failure is an outcome
                return f"{type(error).__name__}: {error}"
            finally:
                await provider.close()
            return ""

    async def left() -> None:
        ours = asyncio.all_tasks() - {asyncio.current_task()}
        for each in ours:
            each.cancel()
        await asyncio.gather(*ours, return_exceptions=True)

    thread = threading.Thread(target=loop.run_forever, name="suite")
    thread.start()
    try:
        yield {name: asyncio.run_coroutine_threadsafe(one(name), loop) for name in CHECKS}
    finally:
        asyncio.run_coroutine_threadsafe(left(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.mark.parametrize("name", tuple(CHECKS))
def test_a_pod_withstands(suite: dict[str, Future[str]], name: str) -> None:
    found = suite[name].result(SECONDS)
    assert not found, found


async def test_a_probe_runs_a_pod_and_says_what_holds_and_what_a_pod_cannot_do(
    cluster: Cluster, runner: Identity, job_image: Image
) -> None:
    provider = made(cluster, runner, job_image.pinned)
    said: SandboxCapabilities = await provider.probe()
    await provider.close()
    assert (said.isolated, said.uid_shared, said.copies, said.shows) == (True, False, True, SHOWS)
    assert said.version == job_image.digest
    assert "none" not in said.limits.values()
    assert said.notes == ()
