"""An attempt's namespace and pods in a real cluster, made and ended by the product's own code under a runner's own identity; nothing of it is replaced."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from tests.cluster.identity import Identity
from tests.cluster.running import PATIENCE, Cluster, Found, never

from lockgate.runner.sandbox.kubernetes import cluster as provided
from lockgate.runner.sandbox.kubernetes.access import open_access
from lockgate.runner.sandbox.kubernetes.api import Api
from lockgate.runner.sandbox.kubernetes.enclosure import Enclosure
from lockgate.runner.sandbox.kubernetes.gone import Account, KubeletNodes
from lockgate.runner.sandbox.kubernetes.marks import MarkKey, RegionMarks, lifetime
from lockgate.runner.sandbox.kubernetes.memory import Forgetful
from lockgate.runner.sandbox.kubernetes.objects import Mount, PodPlan
from lockgate.runner.sandbox.kubernetes.settings import KubernetesSettings
from lockgate.runner.sandbox.port import SandboxLimits
from lockgate.runner.sandbox.runtime_root import INSIDE

KEY = MarkKey(b"a test region's secret: 32 bytes")
PYTHON = f"{INSIDE}/python/bin/python3"
LIMITS = SandboxLimits(wall_seconds=600)
SCRATCH = 8 << 20
SLEEPS = "import time; time.sleep(600)"


def made_marks(runner: str, cluster_uid: str, seconds: int = lifetime(900)) -> RegionMarks:
    """The marks of a runner of the tests' region, of which there is one installation."""
    return RegionMarks(KEY, cluster_uid, "eu-test", runner, "the-only-one", seconds)


@dataclass(frozen=True)
class Attempts:
    """One runner process in the cluster."""

    cluster: provided.Cluster
    standing: provided.Standing

    def enclosure(self, name: str | None = None) -> Enclosure:
        """The namespace of an attempt, or another process' view of one that is there."""
        return Enclosure(self.cluster, self.standing, name or os.urandom(16).hex())

    @property
    def cluster_uid(self) -> str:
        """The UID of kube-system."""
        marks = self.standing.marks
        assert isinstance(marks, RegionMarks)
        return marks.cluster


@asynccontextmanager
async def attempts(
    cluster: Cluster, who: Identity, image: str, runner: str = "runner-1", seconds: int = int(PATIENCE)
) -> AsyncIterator[Attempts]:
    """`seconds` is how long an end is waited for before it counts as not proven."""
    api = Api(open_access(who.kubeconfig))
    settings = KubernetesSettings(
        channel_address=cluster.node_ip, kubeconfig=who.kubeconfig, image_pull="Never", teardown_seconds=seconds
    )
    nodes = KubeletNodes(api, Account("lockgate", "look"), float(seconds))
    marks = partial(made_marks, runner)
    one = provided.Cluster(api, settings, runner, image, {}, marks, nodes, os.urandom, Forgetful())
    try:
        yield Attempts(one, await provided.standing(one))
    finally:
        await api.close()


async def begun(where: Enclosure, image: str, code: str = SLEEPS) -> Mapping[str, Any]:
    """A pod of the attempt that runs Python `code`, once its node runs it."""
    await where.open(LIMITS, SCRATCH)
    plan = PodPlan(
        sandbox_id=os.urandom(16).hex(),
        number=where.number(),
        image=image,
        pull="Never",
        command=(PYTHON, "-I", "-S", "-u", "-c", code),
        environment={},
        from_pod={},
        ticket_file="/run/lockgate/ticket",
        mounts=(Mount("/tmp", memory=True, size_bytes=SCRATCH),),
        limits=LIMITS,
        uid=1_234_567,
        cpu_millis=500,
    )
    pod = await where.make(plan, [], b"t" * 32)
    found = await where.watch.until(pod["metadata"]["uid"], running, PATIENCE)
    assert found is not None, "the pod did not come to run"
    where.runs_on(found)
    return found


def running(pod: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The pod while its container runs, or once it has ended."""
    phase = (pod or {}).get("status", {}).get("phase")
    return pod if phase in ("Running", "Succeeded", "Failed") else None


async def ended(where: Enclosure, pod: Mapping[str, Any]) -> Mapping[str, Any]:
    """The pod's container as it ended by itself."""

    def over(now: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        return now if (now or {}).get("status", {}).get("phase") in ("Succeeded", "Failed") else None

    found = await where.watch.until(pod["metadata"]["uid"], over, PATIENCE)
    assert found is not None
    state: Mapping[str, Any] = found["status"]["containerStatuses"][0]["state"]["terminated"]
    return state


async def soon(what: Callable[[], Any], wanted: Any = True) -> None:
    """Wait until `what()` is `wanted`, in the loop; a failure names both in its first line."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE
    while (seen := await asyncio.to_thread(what)) != wanted:
        assert loop.time() < deadline, never(what, seen, f"wanted: {wanted!r}")
        await asyncio.sleep(0.1)


async def within(what: Awaitable[Found], told: str) -> Found:
    """What it comes to; a failure says in its first line that it did not: `told`, what was to come."""
    try:
        return await asyncio.wait_for(what, PATIENCE)
    except TimeoutError:
        raise AssertionError(f"not within {PATIENCE:.0f} s: {told}") from None


async def proven(release: Callable[[], Awaitable[Any]], wanted: Any) -> None:
    """Ask for an end until it is shown as `wanted`: each look waits by itself, and what was killed a moment ago may not answer yet."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE
    while (seen := await release()) != wanted:
        assert loop.time() < deadline, never(release, seen, f"wanted: {wanted!r}")
        await asyncio.sleep(0.2)
