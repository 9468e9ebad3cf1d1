"""The runner's hold on one stage's channel over a network: what a pod needs to find it, and the talk with its porter; no pod's byte comes here as it was."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ipaddress
import secrets
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from lockgate.contract import podchannel as pod
from lockgate.runner.egress.notes import TunnelNotes
from lockgate.runner.egress.tunnels import TunnelNote
from lockgate.runner.sandbox.channel import LinkChannel
from lockgate.runner.sandbox.client import sealed_memory_file
from lockgate.runner.sandbox.network import delivery
from lockgate.runner.sandbox.network.certificate import StageCertificate, stage_certificate
from lockgate.runner.sandbox.network.link import EXPECT, FAULT, content_length, document, framed, read_fault
from lockgate.runner.sandbox.network.listen import Listen
from lockgate.runner.sandbox.network.returning import Returned
from lockgate.runner.sandbox.port import ChannelError, ExitCause, ExitReport, SandboxSpec
from lockgate.wire.frames import FrameError, decode
from lockgate.wire.links import exactly

_NAME_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Arrival:
    """A pod that was let in. ``checks``: what it could not reach, each true; ``files_had``: what its image says it holds, by SHA-256 (hex)."""

    pod_uid: str
    checks: Mapping[str, bool]
    files_had: frozenset[str]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a pod must not reach beside the canary: ``api_server``, every place of it as host:port, metadata services, and anything ``more`` by a name of its own.

    ``look_ms``: for how long after its channel's port was seen open an answer from any of them is waited for; ``whole``: along the pod's own cable too,
    which takes seconds. What answers later ends the run.
    """

    api_server: tuple[str, ...]
    metadata: tuple[str, ...] = pod.METADATA
    more: Mapping[str, str] | None = None
    look_ms: int = pod.LOOK_MS
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Reachable:
    """Where a stage's pod finds the runner: address, ports (channel, canary, egress), certificate."""

    address: str
    ports: tuple[int, int, int | None]
    certificate: StageCertificate


class HostedChannel(LinkChannel):
    """The job's channel, whose end has the porter's name for it where the porter ended it."""

    why: Callable[[ChannelError], Awaitable[ChannelError]]

    async def receive(self) -> dict[str, Any]:
        """The job's next message. Raises ChannelError; a fault is final."""
        try:
            return await super().receive()
        except ChannelError as error:
            raise await self.why(error) from None

    async def send(self, message: Mapping[str, Any]) -> None:
        """Send ``message``; its ``type`` must be the runner's next one. Raises ChannelError."""
        try:
            await super().send(message)
        except ChannelError as error:
            raise await self.why(error) from None


class ChannelHost:
    """One stage's channel. In order: ``expect`` (as soon as the API says), ``arrived``, ``deliver``, then ``channel``; ``ended`` and ``taken_back``; ``close``."""

    channel: HostedChannel
    _link: socket.socket
    _pump: asyncio.Task[None]
    _stopping: asyncio.Task[None]

    def __init__(self, spec: SandboxSpec, reachable: Reachable, end: Callable[[str], Awaitable[None]]) -> None:
        self.port, self.canary_port, self.egress_port = reachable.ports
        self.certificate = reachable.certificate.der
        self.ticket = secrets.token_bytes(pod.TICKET_BYTES)
        self._spec = spec
        self._reachable = reachable
        self._end = end
        self._returned = Returned(spec)
        self.sent_bytes = 0
        """How much it took to give the pod its files."""
        self._closed = False
        self._stopped: ExitCause | None = None
        loop = asyncio.get_running_loop()
        self._arrival: asyncio.Future[Arrival] = loop.create_future()
        self._placed: asyncio.Future[None] = loop.create_future()
        self._report: asyncio.Future[ExitReport | None] = loop.create_future()
        self._notes: TunnelNotes | None = None
        self._fault: ChannelError | None = None
        self._speaking = asyncio.Lock()

    def __repr__(self) -> str:
        return f"ChannelHost({self._spec.id}, port {self.port})"

    @classmethod
    def made(
        cls, spec: SandboxSpec, listen: Listen, end: Callable[[str], Awaitable[None]]
    ) -> tuple[ChannelHost, list[int]]:
        """A host, and the descriptors for its guardians in the nursery's order. Raises SandboxUnavailable."""
        certificate = stage_certificate()
        listeners = listen.sockets(2 + (spec.egress is not None))
        ports = [sock.getsockname()[1] for sock in listeners]
        reachable = Reachable(listen.address, (ports[0], ports[1], ports[2] if ports[2:] else None), certificate)
        host = cls(spec, reachable, end)
        channel_link, warden_link = socket.socketpair()
        porter_link, link = socket.socketpair()
        host.channel = HostedChannel(spec.stage, channel_link)
        host.channel.why = host._why
        link.setblocking(False)
        host._link = link
        host._pump = asyncio.get_running_loop().create_task(host._hear())
        kept = sealed_memory_file(host.ticket.hex().encode() + b"\n" + certificate.pem)
        given = [warden_link.detach(), porter_link.detach(), kept, *(sock.detach() for sock in listeners)]
        if spec.egress is not None:
            notes, noting = socket.socketpair()
            host._notes = TunnelNotes(notes, spec.egress.limits.tunnels + 1)
            given.append(noting.detach())
        return host, given

    def pod_environment(self, surroundings: Surroundings) -> dict[str, str]:
        """What the pod's first process needs in its environment. The provider adds, by the downward API, ``podchannel.POD_VARIABLE`` (metadata.uid) and
        ``podchannel.NODE_VARIABLE`` (status.hostIPs), and mounts the ticket as ``podchannel.TICKET_FILE``."""
        address = self._reachable.address
        unreachable = [
            (pod.CANARY, f"{address}:{self.canary_port}"),
            *((pod.API_SERVER, place) for place in surroundings.api_server),
            *((pod.METADATA_CHECK, place) for place in surroundings.metadata),
            *(surroundings.more or {}).items(),
        ]
        environment = {
            pod.ADDRESS_VARIABLE: f"{address}:{self.port}",
            pod.PIN_VARIABLE: self._reachable.certificate.pin,
            pod.TICKET_VARIABLE: pod.TICKET_FILE,
            pod.UNREACHABLE_VARIABLE: " ".join(f"{name}={place}" for name, place in unreachable),
            pod.LOOK_VARIABLE: str(surroundings.look_ms),
            pod.LOOK_WHOLE_VARIABLE: str(int(surroundings.whole)),
        }
        if self.egress_port is not None:
            environment[pod.EGRESS_ADDRESS_VARIABLE] = f"{address}:{self.egress_port}"
        return environment

    def is_for(self, spec: SandboxSpec) -> None:
        """What the stage is given turned out to be this; nothing was delivered yet. Raises SpecRefused."""
        delivery.check_binds(spec)
        self._spec, self._returned = spec, Returned(spec)

    async def expect(self, pod_uid: str, pod_ip: str) -> None:
        """Which pod may come, and from where, as the API tells; whoever else comes ends the run. Until this is said, nothing is sent."""
        await self._say(document(EXPECT, {"uid": pod_uid, "address": str(ipaddress.ip_address(pod_ip))}))

    async def arrived(self) -> Arrival:
        """Wait for the pod: let in, and every check true. Raises ChannelError."""
        return await asyncio.shield(self._arrival)

    async def deliver(self) -> None:
        """Send what the specification gives the stage, and have the job started. Raises ChannelError, SpecRefused, OSError."""
        had = (await self.arrived()).files_had
        await self._say(delivery.order(self._spec, self.egress_port is not None))
        batches = delivery.batches(delivery.frames(self._spec, had))
        while batch := await asyncio.to_thread(next, batches, b""):
            await self._say(batch)
            self.sent_bytes += len(batch)
        await asyncio.to_thread(self._returned.move_out)
        try:
            await self._say(framed(pod.START))
            await asyncio.shield(self._placed)
        except ChannelError:
            # Whatever became of the pod: a job that was never told to go has written no state.
            await asyncio.to_thread(self._returned.stay)
            raise

    async def taken_back(self) -> Mapping[str, bytes]:
        """The writable files as the job left them, by target; each is back where it was bound from by now. Raises ChannelError when one did not come:
        what is there then says so itself, and is no state."""
        await asyncio.wait([self._report])
        if not self._returned.whole:
            raise self._fault or ChannelError("eof", "a writable file did not come back")
        return dict(self._returned.content)

    async def ended(self) -> ExitReport | None:
        """How the pod says the job ended; None when it never said. Its cause is a claim, but for what was ordered here."""
        return await asyncio.shield(self._report)

    def stop_soon(self, cause: ExitCause) -> None:
        """Have the job ended; the first cause given is the one reported."""
        if self._stopped is None:
            self._stopped = cause
            task = asyncio.get_running_loop().create_task(self._stop())
            self._stopping = task

    async def stop(self, cause: ExitCause = "destroyed") -> None:
        """As ``stop_soon``; its files and its last words still come (``ended``)."""
        self.stop_soon(cause)
        await self._stopping

    @property
    def tunnels(self) -> tuple[TunnelNote, ...]:
        """What the stage's egress proxy was asked for and did; whole once the host was closed."""
        return self._notes.tunnels if self._notes is not None else ()

    async def close(self) -> None:
        """End porter, warden and proxy, and hang up on whoever is connected; idempotent. What was received stays readable."""
        if self._closed:
            return
        self._closed = True
        if self._notes is not None:
            await self._notes.finish()
        await self._end(self._spec.id)
        self._pump.cancel()
        await asyncio.wait([self._pump])
        self._link.close()
        await self.channel.release()
        if self._notes is not None:
            await self._notes.release()

    async def _stop(self) -> None:
        with contextlib.suppress(ChannelError):
            await self._say(framed(pod.BYE))

    async def _say(self, frame: bytes) -> None:
        try:
            async with self._speaking:
                await asyncio.get_running_loop().sock_sendall(self._link, frame)
        except OSError:
            await asyncio.wait([self._pump])  # the porter hung up; its reason may be on the way still
            raise self._fault or ChannelError("eof", "the porter is gone") from None

    async def _why(self, error: ChannelError) -> ChannelError:
        """The porter's name for an end that the warden could only call eof."""
        if error.kind == "eof":
            words: set[asyncio.Future[Any]] = {self._pump, self._report}
            await asyncio.wait(words, timeout=_NAME_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        return self._fault if error.kind == "eof" and self._fault is not None else error

    async def _hear(self) -> None:
        # Not a stream: one of those forgets what has arrived as soon as it cannot write any more.
        try:
            while True:
                header = await self._exactly(pod.HEADER_BYTES)
                await self._take(header[-1:], await self._exactly(content_length(header)))
        except ChannelError as error:
            self._fault = error
        except FrameError as error:
            self._fault = ChannelError("malformed", error.detail)
        except OSError as error:
            self._fault = ChannelError("eof", f"a file that came back cannot be kept: {error.strerror}")
        finally:
            self._over(self._fault if self._fault is not None else ChannelError("eof", "the channel was closed"))
            with contextlib.suppress(OSError):
                self._link.shutdown(socket.SHUT_RDWR)

    async def _exactly(self, count: int) -> bytes:
        try:
            return await exactly(self._link, count)
        except FrameError:
            raise ChannelError("eof", "the connection ended") from None

    def _over(self, error: ChannelError) -> None:
        if not self._report.done():
            self._report.set_result(None)
        for waiting in (self._arrival, self._placed):
            if not waiting.done():
                waiting.set_exception(error)
                waiting.exception()  # it may be that nobody asks any more

    async def _take(self, tag: bytes, payload: bytes) -> None:
        if tag == FAULT:
            raise read_fault(payload)
        if tag == pod.ARRIVAL:
            said = decode(payload)
            self._arrival.set_result(Arrival(said["pod"], said["checks"], frozenset(said["had"])))
        elif tag == pod.PLACED:
            self._placed.set_result(None)
        elif tag == pod.ENDED:
            self._report.set_result(self._reported(decode(payload)))
        else:
            await asyncio.to_thread(self._returned.take, tag, payload)

    def _reported(self, said: dict[str, Any]) -> ExitReport:
        cause: ExitCause = self._stopped or said["cause"]
        tail = base64.b64decode(said["tail"])
        return ExitReport(cause, said["exit_code"], said["signal"], tail, said["output_bytes"])
