"""One pod as a running sandbox: its end as its node and its first process tell it, the runner's own clock over both. It makes and removes nothing."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from typing import Final

from lockgate.runner.egress.tunnels import TunnelNote
from lockgate.runner.sandbox.channel import LinkChannel
from lockgate.runner.sandbox.kubernetes.api import ApiRefused, ApiUnavailable
from lockgate.runner.sandbox.kubernetes.failures import PodEnd, image_digest, pod_end
from lockgate.runner.sandbox.kubernetes.ordered import difference
from lockgate.runner.sandbox.kubernetes.watch import Pod, PodWatch
from lockgate.runner.sandbox.network.host import ChannelHost
from lockgate.runner.sandbox.port import ExitCause, ExitReport, SandboxSpec

_LAST_WORDS_SECONDS: Final = 2.0
"""How long the pod's own account of its end is waited for once the node has told of it, and the other way round."""
_NODE_SECONDS: Final = 5.0
_ELSEWHERE_SECONDS: Final = 20.0
_NAMED: Final = ("oom", "disk", "wall")
"""Ends that only the node or the cluster can name; what the pod claims beside them does not count."""
_ENDED_FROM_OUTSIDE: Final = ("destroyed", "signal", "lost")
"""What a pod's first process can say of an end whose reason it was not told: an eviction is a SIGTERM to it."""
LIMITS: Final[Mapping[str, str]] = {
    "memory": "pod cgroup (kubelet)",
    "processes": "rlimit of a uid that no other pod has",
    "cpu": "rlimit per process; the pod's share of a core (kubelet)",
    "files": "rlimit",
    "disk": "tmpfs size; on the node's disk eviction (kubelet)",
    "inodes": "memory of the pod cgroup",
    "wall": "timer; activeDeadlineSeconds",
    "output": "relay",
}


class KubernetesRun:
    """A ``RunningSandbox``. ``pod`` as it was when it was let in, ``order`` as it was ordered: it ends as soon as it is not that any more."""

    def __init__(self, spec: SandboxSpec, host: ChannelHost, watch: PodWatch, pod: Pod, order: Pod) -> None:
        self.id = spec.id
        self.host = host
        self.channel: LinkChannel = host.channel
        self.limits_in_force: Mapping[str, str] = dict(LIMITS)
        self.uid_shared = False
        self.image = image_digest(pod)
        self._watch = watch
        self._uid = str(pod["metadata"]["uid"])
        self._order = order
        self._last = pod
        self._cause: ExitCause | None = None
        self._timer = asyncio.get_running_loop().call_later(spec.limits.wall_seconds, self.stop_soon, "wall")
        self._ending = asyncio.get_running_loop().create_task(self._follow())

    @property
    def tunnels(self) -> tuple[TunnelNote, ...]:
        """What its proxy noted."""
        return self.host.tunnels

    def stop_soon(self, cause: ExitCause) -> None:
        """Have it ended; the first cause given is the one reported."""
        self._cause = self._cause or cause
        self.host.stop_soon(cause)

    async def wait(self) -> ExitReport:
        """Wait for the end; a claim where only the pod says so, the node's word where it has one."""
        return await asyncio.shield(self._ending)

    async def close(self) -> None:
        """Nobody waits any more."""
        self._timer.cancel()
        self._cause = self._cause or "destroyed"
        await asyncio.wait([self._ending], timeout=_LAST_WORDS_SECONDS)
        await self.host.close()
        await asyncio.wait([self._ending])

    async def _follow(self) -> ExitReport:
        told = asyncio.create_task(self._pod_end())
        claimed = asyncio.create_task(self.host.ended())
        try:
            await asyncio.wait({told, claimed}, return_when=asyncio.FIRST_COMPLETED)
            if not told.done():
                # Its word came first; what the kernel or the node did to it only the node knows.
                await asyncio.wait({told}, timeout=patience(claimed.result(), ours=self._cause is not None))
            else:
                await asyncio.wait({claimed}, timeout=_LAST_WORDS_SECONDS)
            end = told.result() if told.done() else None
            claim = claimed.result() if claimed.done() else None
        finally:
            self._timer.cancel()
            for task in (told, claimed):
                task.cancel()
        return self._report(end, claim)

    async def _pod_end(self) -> PodEnd | None:
        try:
            return await self._watch.until(self._uid, self._ended, None)
        except (ApiRefused, ApiUnavailable) as error:
            return PodEnd("lost", None, None, f"its namespace cannot be looked into any more: {str(error)[:200]}")

    def _ended(self, pod: Pod | None) -> PodEnd | None:
        """As ``pod_end``; and whoever got a container beside the job's, or changed its own, has come in by a second door."""
        if pod is None:
            return pod_end(None, self._last)
        self._last, changed = pod, difference(self._order, pod)
        if changed is None:
            return pod_end(pod)
        self.host.stop_soon("lost")
        return PodEnd("lost", None, None, f"the pod was changed while it ran: {changed}")

    def _report(self, end: PodEnd | None, claim: ExitReport | None) -> ExitReport:
        tail, count = (claim.output_tail, claim.output_bytes) if claim is not None else (b"", 0)
        code = claim.exit_code if claim is not None else end.exit_code if end is not None else None
        number = claim.signal if claim is not None else end.signal if end is not None else None
        if self._cause is not None:
            return ExitReport(self._cause, code, number, tail, count)
        if end is not None and explains(end, claim):
            return ExitReport(end.cause, end.exit_code, end.signal, tail, count, end.reason)
        if claim is not None:
            return claim
        return ExitReport("lost", reason="nobody told how it ended")


def patience(claim: ExitReport | None, *, ours: bool) -> float:
    """Seconds for which the node's word is waited for: of an end that was ordered elsewhere, or came without a word, or by SIGKILL, which whoever runs out of
    memory gets, only the node and the cluster know why.

    `ours`: we ordered it.
    """
    killed = claim is not None and (claim.cause, claim.signal) == ("signal", signal.SIGKILL)
    elsewhere = claim is None or claim.cause == "destroyed"
    return _ELSEWHERE_SECONDS if (elsewhere or killed) and not ours else _NODE_SECONDS


def explains(end: PodEnd, claim: ExitReport | None) -> bool:
    """Whether the node's word on an end says more than the pod's own."""
    if claim is None or end.cause in _NAMED:
        return True
    return end.cause == "lost" and claim.cause in _ENDED_FROM_OUTSIDE
