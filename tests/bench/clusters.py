"""Attempts in a real cluster: from a lease to its job's `ready`, from there to checked absence, many at once, and what they leave in the runner's memory.

It uses the cluster that stands, else starts one and ends it. Each attempt is a namespace of its own with one plan stage, made and removed by the product's own provider under
exactly the rights of deploy/kubernetes; before it, its source is sealed as the runner seals it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tests.bench.figures import Figure, median, percentile
from tests.bench.machine import resident_bytes
from tests.bench.processes import ROOT
from tests.bench.sandboxes import StageFailed, plan_stage, reachable
from tests.cluster import images, lifecycle
from tests.cluster.attempts import made_marks
from tests.cluster.identity import runner_identity
from tests.cluster.place import standing
from tests.cluster.programs import built
from tests.cluster.running import Cluster

from lockgate.contract import jobchannel
from lockgate.contract.codec import to_document
from lockgate.contract.jobchannel import JobInputs
from lockgate.runner.sandbox.kubernetes.opening import Wanted, open_kubernetes
from lockgate.runner.sandbox.kubernetes.provider import KubernetesSandbox
from lockgate.runner.sandbox.kubernetes.settings import KubernetesSettings
from lockgate.runner.sandbox.port import Bind, SandboxSpec, TeardownProof
from lockgate.runner.sandbox.runtime_root import build_job_root
from lockgate.runner.sandbox.uids import UidRange
from lockgate.runner.seal import seal

AT_ONCE = 20
ABREAST = 5
"""So many attempts at a time where only what they leave is measured."""


@dataclass(frozen=True)
class Size:
    """`alone`: attempts one after the other, which are timed; `followed`: such of two stages; `more`: attempts after them, for the runner's memory alone."""

    alone: int = 20
    followed: int = 5
    more: int = 0


@dataclass(frozen=True)
class Bench:
    """The provider, and what each attempt runs."""

    sandbox: KubernetesSandbox
    spec: SandboxSpec
    inputs: JobInputs
    source: Path


@dataclass(frozen=True)
class Took:
    """Milliseconds of one attempt: to the first stage's `ready`, from the end of the stage before to the last one's, and from the last stage's end to checked absence."""

    ready: float
    next_ready: float
    teardown: float


async def measure(place: Path, size: Size) -> list[Figure]:
    """Raises ClusterError, StageFailed, SandboxUnavailable."""
    with _cluster() as cluster, reachable(place) as base:
        bench = await asyncio.to_thread(_bench, cluster, base)
        try:
            await bench.sandbox.probe()
            return [*await _many(bench), *await _alone(bench, size)]
        finally:
            await bench.sandbox.close()


@contextlib.contextmanager
def _cluster() -> Iterator[Cluster]:
    place, programs = standing(), built()
    with lifecycle.held(place, programs):
        yield Cluster(place.kubeconfig, programs.kubernetes, place)


def _bench(cluster: Cluster, base: Path) -> Bench:
    assert cluster.place is not None
    root = build_job_root(base)
    source = shutil.copytree(ROOT / "examples/sources/service", base / "source")
    spec, inputs = plan_stage(base, root, source)
    image = images.bring(cluster.place)
    (base / "identity").mkdir()
    who = runner_identity(cluster, base / "identity")
    settings = KubernetesSettings(
        channel_address=cluster.node_ip, kubeconfig=who.kubeconfig, image_pull="Never", teardown_seconds=120
    )
    wanted = Wanted("bench", image.pinned, {}, UidRange())
    return Bench(open_kubernetes(settings, wanted, partial(made_marks, "bench")), spec, inputs, source)


async def _many(bench: Bench) -> list[Figure]:
    """All of them at the same moment. Raises StageFailed."""
    began = time.perf_counter()
    ended = await asyncio.gather(*(_attempt(bench) for _ in range(AT_ONCE)), return_exceptions=True)
    seconds = time.perf_counter() - began
    took = [each for each in ended if isinstance(each, Took)]
    broken = [repr(each)[:200] for each in ended if isinstance(each, BaseException)]
    note = f"load {_load()}" + (f"; {broken[0]}" if broken else "")
    found = [Figure("cluster: of 20 attempts at once, proven gone", len(took), "", note)]
    if took:
        slowest = max(each.ready for each in took) / 1000
        found.append(
            Figure("cluster: 20 attempts at once, all gone after", seconds, "s", f"the last ready: {slowest:.1f} s")
        )
    return found


async def _alone(bench: Bench, size: Size) -> list[Figure]:
    base = _resident()
    took = [await _attempt(bench) for _ in range(size.alone)]
    note = f"{size.alone} attempts, one at a time; load {_load()}"
    followed = [await _attempt(bench, stages=2) for _ in range(size.followed)]
    for _ in range(0, size.more, ABREAST):
        await asyncio.gather(*(_attempt(bench) for _ in range(ABREAST)))
    ready, teardown = [each.ready for each in took], [each.teardown for each in took]
    kept = f"over {size.alone + size.followed + size.more} attempts, after {AT_ONCE} at once; {_resident() >> 20} MiB"
    return [
        *_both("cluster: lease to the job's ready", ready, note),
        Figure(
            "cluster: next stage to its job's ready, p50",
            median([each.next_ready for each in followed]),
            "ms",
            "from when the one before was proven gone: its pod stood by",
        ),
        *_both("cluster: teardown to checked absence", teardown, "pod, then namespace, then their node's own word"),
        Figure("cluster: runner's RSS, end / start", _resident() / base, "x", kept),
    ]


def _both(name: str, values: Sequence[float], note: str) -> list[Figure]:
    return [
        Figure(f"{name}, p50", median(values), "ms", note),
        Figure(f"{name}, p95", percentile(values, 0.95), "ms", note),
    ]


async def _attempt(bench: Bench, stages: int = 1) -> Took:
    """One attempt as the runner makes it: seal, namespace, each stage and its end, namespace gone. Raises StageFailed, SandboxUnavailable."""
    sandbox, name = bench.sandbox, os.urandom(16).hex()
    began = time.perf_counter()
    sealed = bench.source.with_name(name)
    await asyncio.to_thread(seal, bench.source, sealed)
    binds = tuple(
        Bind(sealed, bind.target) if bind.target == jobchannel.SANDBOX_SOURCE else bind for bind in bench.spec.binds
    )
    specs = [replace(bench.spec, id=os.urandom(16).hex(), enclosure=name, binds=binds) for _ in range(stages)]
    proofs: list[TeardownProof] = []
    ready: list[float] = []
    try:
        for spec, following in zip(specs, [*specs[1:], None], strict=True):
            ready.append(await _stage(bench, spec, began))
            ended = time.perf_counter()
            sandbox.foresee(name, following)
            proofs.append(await sandbox.destroy(spec.id))
            began = time.perf_counter()
    finally:
        proofs.append(await sandbox.release(name))
        await asyncio.to_thread(shutil.rmtree, sealed)
    if not all(proof.torn_down for proof in proofs):
        raise StageFailed(f"not proven gone: {proofs}")
    return Took(ready[0], ready[-1], (time.perf_counter() - ended) * 1000)


async def _stage(bench: Bench, spec: SandboxSpec, began: float) -> float:
    """Milliseconds from `began` to its job's `ready`; it has ended well by then. Raises StageFailed, SandboxUnavailable."""
    running = await bench.sandbox.start(spec)
    await running.channel.receive()
    await running.channel.send({"type": "inputs", **to_document(bench.inputs)})
    await running.channel.receive()
    ready = time.perf_counter() - began
    result = await running.channel.receive()
    if result["status"] != "ok":
        raise StageFailed(str(result))
    return ready * 1000


def _resident() -> int:
    gc.collect()
    return resident_bytes(os.getpid())


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}"
