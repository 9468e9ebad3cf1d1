"""The Kubernetes provider of the ``Sandbox`` port: a pod gets its order only after everything around it was checked; it never falls back to less."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

import structlog

from lockgate.contract import podchannel
from lockgate.runner.sandbox import linux
from lockgate.runner.sandbox.kubernetes import bounds, objects
from lockgate.runner.sandbox.kubernetes.api import ApiRefused, ApiUnavailable
from lockgate.runner.sandbox.kubernetes.cluster import Cluster, Standing, standing
from lockgate.runner.sandbox.kubernetes.enclosure import NAMESPACES, Enclosure
from lockgate.runner.sandbox.kubernetes.failures import has_begun, image_digest, not_made, still_waits_for
from lockgate.runner.sandbox.kubernetes.foreseen import STANDS_SECONDS, holds, will_do
from lockgate.runner.sandbox.kubernetes.memory import remembered
from lockgate.runner.sandbox.kubernetes.objects import Mount, PodPlan
from lockgate.runner.sandbox.kubernetes.orphans import patrol
from lockgate.runner.sandbox.kubernetes.paging import listed
from lockgate.runner.sandbox.kubernetes.places import places
from lockgate.runner.sandbox.kubernetes.planning import PROBE, holes_of, mounts_of, pod_plan, surroundings
from lockgate.runner.sandbox.kubernetes.reaper import Reaper
from lockgate.runner.sandbox.kubernetes.run import LIMITS, KubernetesRun
from lockgate.runner.sandbox.kubernetes.watch import Pod
from lockgate.runner.sandbox.network.host import Arrival, ChannelHost
from lockgate.runner.sandbox.network.hosts import ChannelHosts
from lockgate.runner.sandbox.network.volumes import most_bytes
from lockgate.runner.sandbox.port import (
    ChannelError,
    SandboxCapabilities,
    SandboxSpec,
    SandboxUnavailable,
    SpecRefused,
    TeardownProof,
)
from lockgate.runner.sandbox.profile import check_id, check_spec
from lockgate.runner.sandbox.teardown import proof

LOG = structlog.get_logger("lockgate.runner")
ENCLOSURE: Final = re.compile(r"[0-9a-f]{32}")
SHOWS: Final = ("/sys", "eth0")
"""What a pod sees of its node all the same: the runtime cannot leave it out."""


@dataclass
class _Stage:
    """A pod and the runner's side of it; ``run`` once it was given its order. ``spec``: what it was made for, at the moment ``began`` of the loop."""

    enclosure: Enclosure
    host: ChannelHost
    spec: SandboxSpec
    began: float
    mounts: tuple[Mount, ...] = ()
    plan: PodPlan | None = None
    pod: Pod | None = None
    run: KubernetesRun | None = None


class KubernetesSandbox:
    """A ``Sandbox`` of pods."""

    name = "kubernetes"

    def __init__(self, cluster: Cluster, hosts: ChannelHosts) -> None:
        self._cluster = cluster
        self._hosts = hosts
        self._enclosures: dict[str, Enclosure] = {}
        self._stages: dict[str, _Stage] = {}
        self._ahead: dict[str, asyncio.Task[_Stage]] = {}
        self._standing: Standing | None = None
        self._starting = asyncio.Lock()

    async def open(self) -> None:
        """Start what guards the channels; call it before the runner loads keys. Raises SandboxUnavailable."""
        await self._hosts.start()

    async def probe(self) -> SandboxCapabilities:
        """A namespace and a pod in the very profile, of which everything is checked, and which is removed again. Raises SandboxUnavailable."""
        await self.open()
        enclosure = self._cluster.random(16).hex()
        await bounds.check_names(self._cluster.api, (await self._stands()).user, self._cluster.random(16).hex())
        spec = SandboxSpec(self._cluster.random(16).hex(), PROBE, ("/bin/true",), enclosure=enclosure)
        try:
            run = await self.start(spec)
            await bounds.check_inside(self._cluster.api, objects.namespace_name(enclosure))
            report = await run.wait()
        except SpecRefused as refused:
            raise SandboxUnavailable(str(refused), "see the message") from None
        finally:
            shown = await self.release(enclosure)
        if report.exit_code != 0:
            raise SandboxUnavailable(f"the probe's pod ended by {report.cause}: {report.reason}", "see the message")
        notes = () if shown.torn_down else (f"teardown does not prove here: {shown.reason}",)
        return SandboxCapabilities(
            self.name, True, False, dict(LIMITS), self._cluster.image_digest, notes, copies=True, shows=SHOWS
        )

    async def start(self, spec: SandboxSpec) -> KubernetesRun:
        """Start one stage; raises SpecRefused, SandboxUnavailable. A failed start leaves no pod; its namespace stays until ``release``."""
        check_spec(spec)
        if not ENCLOSURE.fullmatch(spec.enclosure):
            raise SpecRefused("enclosure: must be 32 hexadecimal characters chosen at random")
        if spec.id in self._stages and spec.id not in self._ahead:
            raise SpecRefused(f"id {spec.id}: a run of this id exists; destroy it first")
        try:
            stage = await self._stood_by(spec) or await self._stand(spec, spec)
            return await self._give(spec, stage)
        except BaseException:
            with contextlib.suppress(
                SandboxUnavailable
            ):  # why it did not start is what counts; whoever asked destroys it again
                await self.destroy(spec.id)
            raise

    def foresee(self, enclosure: str, following: SandboxSpec | None) -> bool:
        """Have the next stage's pod made, looked at and let in while the last one ends; or, when none follows, its namespace removed as soon as no pod is in it."""
        known = self._enclosures.get(enclosure)
        if known is None:
            return False
        if following is None:
            known.closes = True
            return True
        bare = replace(following, binds=(), files=())
        self._ahead[following.id] = asyncio.get_running_loop().create_task(self._stand(following, bare), name=enclosure)
        return True

    async def _stood_by(self, spec: SandboxSpec) -> _Stage | None:
        """The stage whose pod stands by for this one; None where there is none that will do: then it was ended. Raises SandboxUnavailable."""
        ahead = self._ahead.get(spec.id)
        if ahead is None:
            return None
        await asyncio.wait([ahead])
        self._ahead.pop(spec.id, None)
        if ahead.cancelled():
            raise SandboxUnavailable("it was destroyed before it was started", "see the message")
        if ahead.exception() is None:
            stage, now = ahead.result(), asyncio.get_running_loop().time()
            young = now - stage.began < STANDS_SECONDS
            if young and will_do(stage.spec, spec) and holds(stage.mounts, mounts_of(spec)):
                stage.host.is_for(spec)
                return stage
        why = str(ahead.exception() or "it will not do")
        LOG.info("the pod that stood by is not used", sandbox=spec.id, why=why)
        if not (await self.destroy(spec.id)).torn_down:
            raise SandboxUnavailable(f"the pod that stood by is not gone, and is not used: {why}", "see the message")
        return None

    async def _stand(self, spec: SandboxSpec, opened: SandboxSpec) -> _Stage:
        """A pod that was let in and stands by for its order; it was given nothing. Raises SpecRefused, SandboxUnavailable."""
        check_spec(spec)
        began = asyncio.get_running_loop().time()
        enclosure = self._enclosures.setdefault(spec.enclosure, await self._enclosure(spec.enclosure))
        stage = _Stage(enclosure, await self._hosts.open(opened), spec, began, mounts_of(spec))
        self._stages[spec.id] = stage
        api_server, _ = await asyncio.gather(
            places(self._cluster.api.access.address), stage.enclosure.open(spec.limits, most_bytes(spec.limits))
        )
        around = stage.host.pod_environment(surroundings(spec, api_server))
        stage.plan = pod_plan(self._cluster, spec, around, stage.enclosure.number(), stage.mounts)
        holes = holes_of(self._cluster, stage.host)
        stage.pod = await stage.enclosure.make(stage.plan, holes, stage.host.ticket)
        stage.pod = await self._placed(stage)
        arrival = await self._let_in(spec.id, stage)
        check_arrival(arrival, stage.pod, self._cluster.image_digest)
        return stage

    async def _give(self, spec: SandboxSpec, stage: _Stage) -> KubernetesRun:
        assert stage.pod is not None and stage.plan is not None  # noqa: S101 - it stands
        # As it is now: it may have been changed since it was made, and nobody was sent anything yet.
        await stage.enclosure.check_again(stage.plan, stage.pod)
        try:
            await stage.host.deliver()
        except (ChannelError, OSError) as error:
            raise SandboxUnavailable(f"the pod could not be given its files: {error}", "see the message") from None
        LOG.info("the pod was given its files", sandbox=spec.id, stage=spec.stage, sent_bytes=stage.host.sent_bytes)
        stage.run = KubernetesRun(spec, stage.host, stage.enclosure.watch, stage.pod, objects.pod(stage.plan))
        return stage.run

    async def _placed(self, stage: _Stage) -> Pod:
        """The pod once a node runs it and it has an address, by the API server's word. Raises SandboxUnavailable."""
        assert stage.pod is not None  # noqa: S101 - made just now
        uid = str(stage.pod["metadata"]["uid"])
        try:
            found = await stage.enclosure.watch.until(uid, has_begun, self._cluster.settings.start_seconds)
        except (ApiRefused, ApiUnavailable) as error:
            raise not_made("the pod", error) from None
        if found is None and stage.enclosure.watch.silent is not None:
            raise not_made("the pod", stage.enclosure.watch.silent)
        if found is None:
            raise still_waits_for(stage.enclosure.watch.pods.get(uid))
        if found.why_not is not None or found.pod is None:
            raise found.why_not or still_waits_for(None)
        stage.enclosure.runs_on(found.pod)
        return found.pod

    async def _let_in(self, sandbox_id: str, stage: _Stage) -> Arrival:
        assert stage.pod is not None  # noqa: S101 - made just now
        try:
            async with asyncio.timeout(self._cluster.settings.start_seconds):
                await stage.host.expect(str(stage.pod["metadata"]["uid"]), str(stage.pod["status"]["podIP"]))
                await stage.enclosure.placed(sandbox_id, stage.pod)  # while the pod looks around
                return await stage.host.arrived()
        except ChannelError as error:
            raise SandboxUnavailable(f"the pod was not let in: {error}", _fix_of(error)) from None
        except TimeoutError:
            address = self._cluster.settings.channel_address
            raise SandboxUnavailable(
                f"the pod runs and does not reach this runner at {address}",
                "set sandbox.kubernetes.channel_address to an address of this runner that pods are routed to",
            ) from None

    async def destroy(self, sandbox_id: str) -> TeardownProof:
        """End, remove, look. Raises SandboxUnavailable when the cluster does not answer; then nothing is proven."""
        check_id(sandbox_id)
        began = linux.boottime_ms()
        await self._leave([sandbox_id])
        stage = self._stages.get(sandbox_id)
        if stage is None:
            checks = await self._destroy_unknown(sandbox_id)
        else:
            checks = await self._destroy(stage, sandbox_id)
            if all(checks.values()):
                self._stages.pop(sandbox_id, None)
        return proof(sandbox_id, checks, began, linux.boottime_ms())

    async def _leave(self, sandbox_ids: Collection[str]) -> None:
        """Nobody waits for the pods that were being prepared for these."""
        for ahead in [self._ahead.pop(each) for each in sandbox_ids if each in self._ahead]:
            ahead.cancel()
            await asyncio.wait([ahead])
            if not ahead.cancelled() and ahead.exception() is not None:
                LOG.info("a pod that nobody needs did not come to stand by", why=str(ahead.exception()))

    async def _destroy(self, stage: _Stage, sandbox_id: str) -> dict[str, bool]:
        egress = stage.host.egress_port is not None
        checks = {"pod": True}
        try:
            if stage.run is not None:
                stage.run.stop_soon("destroyed")
            pod = stage.pod if stage.pod is not None else await self._made(stage.enclosure, sandbox_id)
            checks = await (
                stage.enclosure.end(pod) if pod is not None else self._never_made(stage.enclosure.enclosure)
            )
        finally:
            await (stage.run.close() if stage.run is not None else stage.host.close())
        return checks | {"channel": True} | ({"egress": True} if egress else {})

    async def _destroy_unknown(self, sandbox_id: str) -> dict[str, bool]:
        """Of a dead runner, or never made: looked for in every namespace of this runner's."""
        for enclosure in await self._ours():
            pod = await self._made(enclosure, sandbox_id)
            if pod is not None:
                return await enclosure.end(pod)
        memory = self._cluster.memory
        place, ordered_in = memory.places().get(sandbox_id), memory.enclosure_of(sandbox_id)
        if place is not None:
            return {"pod": True, "processes": await self._cluster.nodes.run_none_of([remembered(place)])}
        return {"pod": True} if ordered_in is None else await self._never_made(ordered_in)

    async def _never_made(self, enclosure: str) -> dict[str, bool]:
        """Of a sandbox without a pod: certain where this process knows of every pod of the enclosure; else whatever runs there may be its."""
        known = self._enclosures.get(enclosure)
        if known is not None and known.whole:
            return {"pod": True}
        return {
            "pod": True,
            "processes": await self._cluster.nodes.run_none_in(objects.namespace_name(enclosure), [], whole=False),
        }

    async def _made(self, enclosure: Enclosure, sandbox_id: str) -> Pod | None:
        """The pod of a sandbox, where there is one: also one that was made though nobody heard of it. Raises SandboxUnavailable."""
        try:
            return (await enclosure.sandboxes()).get(sandbox_id)
        except (ApiRefused, ApiUnavailable) as error:
            if isinstance(error, ApiRefused) and error.status in (403, 404):
                return None  # no such namespace, or the role was never bound in it
            raise SandboxUnavailable(
                f"the pods of {enclosure.name} cannot be listed: {str(error)[:300]}",
                "see that the API server answers this runner",
            ) from None

    async def release(self, enclosure: str) -> TeardownProof:
        """Remove the namespace with all that is in it, and look."""
        if not ENCLOSURE.fullmatch(enclosure):
            raise SpecRefused("enclosure: must be 32 hexadecimal characters chosen at random")
        began = linux.boottime_ms()
        known = await self._enclosure(enclosure)
        await self._leave([each for each, ahead in self._ahead.items() if ahead.get_name() == enclosure])
        for sandbox_id, stage in list(self._stages.items()):
            if stage.enclosure is known:
                await (stage.run.close() if stage.run is not None else stage.host.close())
                del self._stages[sandbox_id]
        try:
            checks = await known.release()
        finally:
            # Also where nothing was proven, which may be for ever: what is looked for again is in the memory, and then every node is asked.
            self._enclosures.pop(enclosure, None)
        return proof(enclosure, checks, began, linux.boottime_ms())

    async def reap(self, keep: Collection[str]) -> list[TeardownProof]:
        """Destroy every pod of this runner that is not in ``keep``, and every namespace that keeps none."""
        proofs = []
        for enclosure in await self._ours():
            known = {box for box, stage in self._stages.items() if stage.enclosure.enclosure == enclosure.enclosure}
            try:
                found = set(await enclosure.sandboxes()) | known
            except ApiRefused:
                found = known
            kept = found & set(keep)
            proofs += [await self.destroy(box) for box in sorted(found - kept) if box]
            if not kept:
                proofs.append(await self.release(enclosure.enclosure))
        return proofs

    async def patrol(self) -> None:
        """Rounds of the reaper: what dead runners of the region left in the cluster."""

        async def reaper() -> Reaper:
            return Reaper((await self._stands()).marks)

        await patrol(reaper, self._cluster.api, lambda: {objects.namespace_name(each) for each in self._enclosures})

    async def close(self) -> None:
        """Release what is left, and hang up; idempotent. What cannot be released now, the next start reaps."""
        for enclosure in list(self._enclosures):
            try:
                await self.release(enclosure)
            except SandboxUnavailable as error:
                LOG.warning("namespace left", enclosure=enclosure, error=str(error))
        await self._hosts.close()
        await self._cluster.api.close()

    async def _enclosure(self, enclosure: str) -> Enclosure:
        standing = await self._stands()
        return self._enclosures.get(enclosure) or Enclosure(self._cluster, standing, enclosure)

    async def _stands(self) -> Standing:
        async with self._starting:
            if self._standing is None:
                try:
                    self._standing = await standing(self._cluster)
                except (ApiRefused, ApiUnavailable) as error:
                    raise not_made("the cluster does not say who this runner is", error) from None
            return self._standing

    async def _ours(self) -> list[Enclosure]:
        """Every namespace in the cluster that this runner made, this process' own among them. Raises SandboxUnavailable."""
        marks = (await self._stands()).marks
        query = {"labelSelector": f"{objects.RUN_LABEL}=true,{objects.RUNNER_LABEL}={self._cluster.runner}"}
        try:
            found = await listed(self._cluster.api, NAMESPACES, query)
        except (ApiRefused, ApiUnavailable) as error:
            raise not_made("the namespaces of this runner cannot be listed", error) from None
        if not found.whole:  # what is told of here is ended first; the reaper finds the rest
            LOG.error("more namespaces of this runner than one list holds", listed=len(found.items))
        names = [str(item["metadata"]["name"]) for item in found.items if marks.ours(item)]
        ours = [name.removeprefix(objects.PREFIX) for name in names if name.startswith(objects.PREFIX)]
        return [await self._enclosure(each) for each in ours if ENCLOSURE.fullmatch(each)]


def check_arrival(arrival: Arrival, pod: Pod, image: str) -> None:
    """Before anything is sent: who came is the pod that was made, it could reach nothing, its node runs the pinned image. Raises SandboxUnavailable."""
    if arrival.pod_uid != pod["metadata"]["uid"]:
        raise SandboxUnavailable("another pod came than was made", "find out who makes pods in Lockgate's namespaces")
    reached = sorted(name for name in podchannel.CHECKS if arrival.checks.get(name) is not True)
    if reached:
        raise SandboxUnavailable(
            f"the network does not hold: a pod could reach {', '.join(reached)}",
            "give the cluster a network plugin that enforces NetworkPolicy, and bar pods from its nodes",
        )
    ran = image_digest(pod)
    if ran != image:
        raise SandboxUnavailable(f"the node runs the image {ran}, not {image}", "see what else goes by that name there")


def _fix_of(error: ChannelError) -> str:
    if error.kind == "unconfined":
        return "give the cluster a network plugin that enforces NetworkPolicy, and bar pods from its nodes"
    if error.kind == "wrong_peer":
        return "set sandbox.kubernetes.channel_address to one that pods reach without translation of their addresses"
    return "see the message"
