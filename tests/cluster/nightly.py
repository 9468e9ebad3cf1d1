"""A thousand attempts' namespaces on pretended nodes: all go, those of a runner that died too, and the runner's process stays as it was. Not in `make test`.

Usage: python -m tests.cluster.nightly [ATTEMPTS]. It starts a cluster of its own beside any other, and ends it. The product's provider makes and removes everything, under exactly the
rights of deploy/kubernetes. What runs on a pretended node nobody can be asked, so no attempt's end is proven, and each proof must say so: `namespace` true, `processes` false.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path

import structlog
from tests.bench.machine import resident_bytes
from tests.cluster import lifecycle
from tests.cluster.attempts import made_marks, running
from tests.cluster.identity import Identity, run_of, runner_identity
from tests.cluster.place import ClusterError, Place
from tests.cluster.pretended import pretended
from tests.cluster.programs import built
from tests.cluster.running import PATIENCE, Cluster

from lockgate.runner.sandbox.kubernetes import objects
from lockgate.runner.sandbox.kubernetes.marks import lifetime
from lockgate.runner.sandbox.kubernetes.opening import Wanted, open_kubernetes
from lockgate.runner.sandbox.kubernetes.provider import KubernetesSandbox
from lockgate.runner.sandbox.kubernetes.settings import KubernetesSettings
from lockgate.runner.sandbox.port import SandboxSpec, SandboxUnavailable
from lockgate.runner.sandbox.uids import UidRange

PLACE = Place(Path("/var/lib/lockgate-cluster-nightly"), number=2)
IMAGE = "lockgate.test/job@sha256:" + "0" * 64
"""Nothing of it ever runs."""
ATTEMPTS, AT_ONCE, TRANCHES = 1000, 20, 10
ORPHANS, NEIGHBOURS = 50, 3
ORPHAN_SECONDS = 60
"""How long the attempts of the runner that dies may take, by their marks."""
GONE_SECONDS = 600
TEARDOWN_SECONDS = 300
FLAT = 1.2
"""Times the resident set after the first tranche: room for what arenas have between their blocks, and for a busy machine's other timing."""
BLOCKS = 10
"""Of Python's memory for each attempt, which caches and free lists still take; a pod's document alone has hundreds."""
CONNECTIONS = 2 * 8
"""Descriptors that two moments may differ by: connections to the API server which its client keeps, of its two pools."""
THREADS = 4
"""As many as asyncio's pool may still have to start: the machine's cores, and four."""


@dataclass(frozen=True)
class Weight:
    """What a process holds while no attempt is under way. `blocks`: of Python's own memory, which tell a leak from what its arenas have between them; `processes`: all that descend from it."""

    resident: int
    blocks: int
    descriptors: int
    threads: int
    processes: int

    def __str__(self) -> str:
        return f"{self.resident / 2**20:.1f} MiB, {self.blocks} blocks, {self.descriptors} descriptors, {self.threads} threads, {self.processes} processes below it"


def weigh() -> Weight:
    """This process, now."""
    gc.collect()
    own = Path("/proc/self")
    descriptors, threads = len(list((own / "fd").iterdir())), len(list((own / "task").iterdir()))
    return Weight(resident_bytes(os.getpid()), sys.getallocatedblocks(), descriptors, threads, _below(os.getpid()))


def _below(pid: int) -> int:
    found = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        children = (task / "children").read_text().split()
        found += len(children) + sum(_below(int(child)) for child in children)
    return found


def provider(kubeconfig: Path, address: str, name: str, seconds: int) -> KubernetesSandbox:
    """A runner's provider; `seconds`: how long its namespaces may live by their marks."""
    settings = KubernetesSettings(
        channel_address=address,
        kubeconfig=kubeconfig,
        image_pull="Never",
        start_seconds=int(PATIENCE),
        teardown_seconds=TEARDOWN_SECONDS,
    )
    marks = partial(made_marks, name, seconds=seconds)
    return open_kubernetes(settings, Wanted(name, IMAGE, {}, UidRange()), marks)


async def begun(sandbox: KubernetesSandbox, enclosure: str) -> asyncio.Task[object]:
    """An attempt whose pod runs by its node's word; as nothing of it does, it never comes to say a word, and is waited for until the task is cancelled. Raises SandboxUnavailable."""
    spec = SandboxSpec(os.urandom(16).hex(), "plan", ("/bin/true",), enclosure=enclosure)
    starting: asyncio.Task[object] = asyncio.create_task(sandbox.start(spec))
    async with asyncio.timeout(PATIENCE):
        while not _runs(sandbox, enclosure):
            if starting.done():
                starting.result()
            await asyncio.sleep(0.05)
    return starting


def _runs(sandbox: KubernetesSandbox, enclosure: str) -> bool:
    known = sandbox._enclosures.get(enclosure)
    return known is not None and any(running(pod) is not None for pod in known.watch.pods.values())


async def ended(sandbox: KubernetesSandbox, enclosure: str, starting: asyncio.Task[object]) -> None:
    """It is given up, and everything of it removed. Raises ClusterError where the proof is another than it can be."""
    starting.cancel()
    await asyncio.wait([starting])
    proof = await sandbox.release(enclosure)
    if proof.checks != {"namespace": True, "processes": False} or proof.torn_down:
        raise ClusterError(f"{enclosure}: {proof}")


async def many(sandbox: KubernetesSandbox, count: int) -> list[Weight]:
    """So many attempts, AT_ONCE at a time; what the process weighs after each tranche of them, when none is under way."""
    room, weights = asyncio.Semaphore(AT_ONCE), []

    async def one() -> None:
        async with room:
            enclosure = os.urandom(16).hex()
            await ended(sandbox, enclosure, await begun(sandbox, enclosure))

    began = time.monotonic()
    for tranche in range(TRANCHES):
        size = count * (tranche + 1) // TRANCHES - count * tranche // TRANCHES
        await asyncio.gather(*(one() for _ in range(size)))
        weights.append(weigh())
        done = count * (tranche + 1) // TRANCHES
        print(f"{done} of {count} after {time.monotonic() - began:.0f} s: {weights[-1]}; load {_load()}", flush=True)
    return weights


def check_flat(first: Weight, last: Weight, count: int) -> None:
    """After `count` attempts the process weighs what it did after the first tranche of them. Raises ClusterError."""
    most = Weight(
        resident=int(FLAT * first.resident),
        blocks=first.blocks + BLOCKS * count,
        descriptors=first.descriptors + CONNECTIONS,
        threads=first.threads + THREADS,
        processes=first.processes,
    )
    if any(now > bound for now, bound in zip(astuple(last), astuple(most), strict=True)):
        raise ClusterError(f"the runner grew: {first}; then {last}")


def killed(kubeconfig: Path, address: str) -> None:
    """Leaves what a runner leaves that was killed with ORPHANS attempts under way. Raises ClusterError."""
    argv = [sys.executable, "-m", "tests.cluster.nightly", "die", str(kubeconfig), address]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        process.kill()
    if said != "all run\n":
        raise ClusterError(f"the runner that was to be killed ended by itself: {process.returncode}")


async def die(kubeconfig: Path, address: str) -> None:
    """The runner that will be killed."""
    sandbox = provider(kubeconfig, address, "nightly-dead", ORPHAN_SECONDS)
    tasks = await asyncio.gather(*(begun(sandbox, os.urandom(16).hex()) for _ in range(ORPHANS)))
    print("all run", flush=True)
    await asyncio.wait(tasks)


def namespaces(cluster: Cluster) -> set[tuple[str, str]]:
    """Name and UID of every namespace that is called as those of attempts are."""
    found = [each["metadata"] for each in cluster.api.ask("GET", "/api/v1/namespaces")["items"]]
    return {(each["name"], each["uid"]) for each in found if each["name"].startswith(objects.PREFIX)}


def left(cluster: Cluster) -> tuple[list[str], int]:
    """Every object of any kind that is in a namespace of an attempt, there or not, with these namespaces; and how many objects were looked at."""
    kinds = cluster.kubectl("api-resources", "--verbs=list", "--namespaced", "-o", "name").stdout.split()
    columns = "custom-columns=SPACE:.metadata.namespace,KIND:.kind,NAME:.metadata.name"
    lines = cluster.kubectl("get", ",".join(kinds), "-A", "--no-headers", "-o", columns).stdout.splitlines()
    lines += cluster.kubectl(
        "get", "namespaces", "--no-headers", "-o", "custom-columns=A:.metadata.name"
    ).stdout.split()
    return [line for line in lines if line.startswith(objects.PREFIX)], len(lines)


async def reaped(cluster: Cluster, who: Identity, sandbox: KubernetesSandbox) -> str:
    """The orphans of a killed runner go by the patrol of another, and nothing else does; in words. Raises ClusterError, TimeoutError."""
    neighbour = provider(who.kubeconfig, cluster.node_ip, "nightly-neighbour", lifetime(900))
    names = [os.urandom(16).hex() for _ in range(NEIGHBOURS)]
    living = [(each, await begun(neighbour, each)) for each in names]
    with run_of(who):  # its mark is none
        kept = await asyncio.to_thread(namespaces, cluster)
        await asyncio.to_thread(killed, who.kubeconfig, cluster.node_ip)
        orphans = await asyncio.to_thread(namespaces, cluster) - kept
        print(f"{len(orphans)} namespaces are left by a runner that was killed; {len(kept)} are not its", flush=True)
        if len(orphans) != ORPHANS:
            raise ClusterError(f"{len(orphans)} of {ORPHANS} are there")
        began, patrol = time.monotonic(), asyncio.create_task(sandbox.patrol())
        await until_gone(cluster, orphans)
        seconds = time.monotonic() - began
        patrol.cancel()
        if await asyncio.to_thread(namespaces, cluster) != kept:
            raise ClusterError("the reaper removed a namespace of a runner that lives, or one that is none of ours")
    await asyncio.gather(*(ended(neighbour, *each) for each in living))
    await neighbour.close()
    return f"{ORPHANS} orphans, and they alone, were gone {seconds:.0f} s after the patrol began"


async def night(cluster: Cluster, count: int, place: Path) -> None:
    """All of it. Raises ClusterError, SandboxUnavailable, TimeoutError."""
    who = await asyncio.to_thread(runner_identity, cluster, place)
    await until_gone(cluster)
    sandbox = provider(who.kubeconfig, cluster.node_ip, "nightly", lifetime(900))
    began = time.monotonic()
    weights = await many(sandbox, count)
    made = time.monotonic() - began
    held = [sandbox._enclosures, sandbox._stages, sandbox._ahead, sandbox._hosts._hosts]
    if any(held):
        raise ClusterError(f"the provider still holds {held}")
    said = await reaped(cluster, who, sandbox)
    await sandbox.close()
    await until_gone(cluster)
    there, looked = await asyncio.to_thread(left, cluster)
    print(f"{count} attempts, {AT_ONCE} at once, in {made:.0f} s, on {os.cpu_count()} cores, load {_load()}; {said}")
    print(f"runner after the first tenth: {weights[0]}")
    print(f"runner after the last tenth:  {weights[-1]}; it holds no enclosure, stage or channel")
    print(f"of {looked} objects of every kind in the cluster {len(there)} are of an attempt", flush=True)
    if there:
        raise ClusterError("left: " + ", ".join(there[:20]))
    check_flat(weights[0], weights[-1], count)


async def until_gone(cluster: Cluster, which: set[tuple[str, str]] | None = None) -> None:
    """Return when these namespaces of attempts are gone, or all. Raises ClusterError naming those that are not."""
    end = time.monotonic() + GONE_SECONDS
    while True:
        there = await asyncio.to_thread(namespaces, cluster)
        there = there if which is None else there & which
        if not there:
            return
        if time.monotonic() > end:
            raise ClusterError(f"{len(there)} namespaces are there after {GONE_SECONDS} s: {sorted(there)[:5]}")
        await asyncio.sleep(0.5)


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}"


def main(argv: list[str]) -> None:
    """Exit 1 with the reason where something is left."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    match argv:
        case ["die", kubeconfig, address]:
            asyncio.run(die(Path(kubeconfig), address))
            return
        case [] | [_]:
            count = int(argv[0]) if argv else ATTEMPTS
        case _:
            sys.exit("usage: python -m tests.cluster.nightly [ATTEMPTS]")
    programs = built()
    lifecycle.up(PLACE, programs)
    try:
        cluster = Cluster(PLACE.kubeconfig, programs.kubernetes, PLACE)
        with pretended(cluster), tempfile.TemporaryDirectory() as place:
            asyncio.run(night(cluster, count, Path(place)))
    except (ClusterError, SandboxUnavailable, TimeoutError) as error:
        sys.exit(f"nightly: {type(error).__name__}: {error}")
    finally:
        lifecycle.down(PLACE)


if __name__ == "__main__":
    main(sys.argv[1:])
