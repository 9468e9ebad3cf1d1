"""The porter lets exactly one pod in, by certificate, ticket, address and uid, and carries its frames; one process a stage, without keys of the runner's.

It is forked by the nursery, drops to a uid of its own, may neither start a program nor open a connection, and holds the stage's own TLS key. A job's
messages it passes on as a stream to the stage's warden, which alone reads them; what the pod says of itself it checks, writes anew and tells the runner.
Whatever is out of order ends the run, with a name.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import os
import platform
import resource
import socket
import ssl
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from lockgate.contract import podchannel as pod
from lockgate.runner.sandbox import linux, seccomp
from lockgate.runner.sandbox.network import claims
from lockgate.runner.sandbox.network.doorway import EgressDoor, Stream, accepted, over_tls
from lockgate.runner.sandbox.network.link import EXPECT, Patience, document, fault, framed, read_framed
from lockgate.runner.sandbox.port import ChannelError
from lockgate.runner.sandbox.warden import confine
from lockgate.wire.frames import decode

_MAX_DESCRIPTORS: Final = 256
_MAX_STRANGERS: Final = 64


@dataclass
class Doors:
    """Descriptors by number: what a porter is left with."""

    secrets: int
    listener: int
    canary: int
    link: int
    job: int
    tail: int
    """Held to the end: that it closes tells the warden that no output comes."""
    egress: int = -1
    proxy: int = -1

    def numbers(self) -> set[int]:
        """All that are there."""
        return {number for number in vars(self).values() if number >= 0}


@dataclass(frozen=True)
class Terms:
    """``seconds``: how long it may take at most from a pod's arrival to its last word."""

    seconds: float
    patience: Patience


def become_porter(doors: Doors, terms: Terms, uid: int | None, parent: int) -> NoReturn:
    """Turn this forked child into a porter; never returns."""
    code = 70
    try:
        ticket = bytes.fromhex(os.read(doors.secrets, 2 * pod.TICKET_BYTES).decode("ascii"))
        context = tls_context(f"/proc/self/fd/{doors.secrets}")
        confine(doors.numbers(), uid, parent)
        resource.setrlimit(resource.RLIMIT_NOFILE, (_MAX_DESCRIPTORS, _MAX_DESCRIPTORS))
        linux.install_filter(seccomp.porter_filter(platform.machine()))
        code = asyncio.run(_serve(ticket, context, doors, terms))
    finally:
        os._exit(code)


async def _serve(ticket: bytes, context: ssl.SSLContext, doors: Doors, terms: Terms) -> int:
    return await Porter(ticket, context, doors, terms).run()


def tls_context(pem: str) -> ssl.SSLContext:
    """TLS 1.3 alone, with the certificate and key of the file ``pem``; nothing is ever resumed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET
    context.load_cert_chain(pem)
    return context


class Porter:
    """One stage's door, from the first connection to the last word."""

    def __init__(self, ticket: bytes, context: ssl.SSLContext, doors: Doors, terms: Terms) -> None:
        self._ticket = ticket
        self._context = context
        self._doors = doors
        self._terms, self._patience = terms, terms.patience
        loop = asyncio.get_running_loop()
        self._expected: asyncio.Future[tuple[str, str]] = loop.create_future()
        self._arrived = asyncio.Event()
        self._strangers: set[str] = set()
        self._to_pod = asyncio.Lock()
        self._to_runner = asyncio.Lock()
        self._returned = claims.Returning()

    async def run(self) -> int:
        """Until the pod has said its last word, somebody breaks a rule, or the runner hangs up. 0 when all was in order."""
        self._link = await Stream.of(self._doors.link)
        self._job = await Stream.of(self._doors.job)
        try:
            await self._first_of(self._hear_runner(), self._watch_canary(), self._serve())
        except ChannelError as error:
            with contextlib.suppress(ChannelError):
                await self._tell(fault(error))
            return 1
        finally:
            await self._link.close()
        return 0

    async def _first_of(self, *work: Coroutine[Any, Any, None]) -> None:
        """All of them at once, until one ends; the others are cut. Raises what the first one raises."""
        tasks = [asyncio.ensure_future(each) for each in work]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            # A named fault counts more than the silence it leads to.
            for task in sorted(done, key=lambda each: each.exception() is None):
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self) -> None:
        listener = socket.socket(fileno=self._doors.listener)
        # 1. One connection; a second one, from anywhere, ends the run.
        sock, peer = await accepted(listener)
        await self._first_of(self._turn_away(listener), self._serve_pod(sock, peer))

    async def _turn_away(self, listener: socket.socket) -> None:
        second, peer = await accepted(listener)
        second.close()
        raise ChannelError("second_connection", f"from {peer}")

    async def _serve_pod(self, sock: socket.socket, peer: str) -> None:
        # 2. TLS, and the ticket over it, in time.
        try:
            async with asyncio.timeout(self._patience.ticket):
                stream = await over_tls(sock, self._context)
                shown = await stream.reader.readexactly(pod.TICKET_BYTES)
        except (TimeoutError, OSError, asyncio.IncompleteReadError) as error:
            sock.close()
            raise ChannelError("no_ticket", f"{peer}: {type(error).__name__}") from None
        try:
            await self._admit(stream, shown, peer)
            await self._carry(stream, peer)
        finally:
            stream.writer.transport.abort()

    async def _admit(self, stream: Stream, shown: bytes, peer: str) -> None:
        self._pod = stream
        # 3. The ticket is ours.
        if not hmac.compare_digest(shown, self._ticket):
            raise ChannelError("wrong_ticket", f"from {peer}")
        # 4. It says which pod it is and what it could reach.
        try:
            async with asyncio.timeout(self._patience.arrival):
                tag, payload = await read_framed(stream.reader)
        except TimeoutError:
            raise ChannelError("slow", "no arrival") from None
        arrival = claims.arrival(tag, payload)
        # 5. It is the pod that the API tells of, at the address the API tells.
        uid, address = await self._expected
        if not hmac.compare_digest(peer, address):
            raise ChannelError("wrong_peer", f"{peer}, not {address}")
        if not hmac.compare_digest(arrival["pod"].encode(), uid.encode()):
            raise ChannelError("wrong_pod", f"it says {arrival['pod']!a}, not {uid}")
        # 6. Nothing but this door is open to it, by its own looks and by ours.
        reached = [name for name in pod.CHECKS if arrival["checks"].get(name) is not True]
        if peer in self._strangers:
            reached.append("canary, as seen from here")
        if reached:
            raise ChannelError("unconfined", ", ".join(reached))
        self._arrived.set()
        await self._tell(document(pod.ARRIVAL, arrival))

    async def _carry(self, stream: Stream, peer: str) -> None:
        work = [self._hear_pod(stream), self._hear_warden()]
        if self._doors.egress >= 0:
            door = EgressDoor(
                pod.egress_ticket(self._ticket), self._context, self._doors.proxy, peer, self._patience.ticket
            )
            work.append(door.serve(socket.socket(fileno=self._doors.egress)))
        try:
            async with asyncio.timeout(self._terms.seconds):
                await self._first_of(*work)
        except TimeoutError:
            raise ChannelError("slow", f"not over after {self._terms.seconds} s") from None

    async def _hear_pod(self, stream: Stream) -> None:
        claims.placed(*await read_framed(stream.reader))
        await self._tell(framed(pod.PLACED))
        talking = True
        while True:
            tag, payload = await read_framed(stream.reader)
            if tag == pod.JOB and talking:
                await self._job.pass_on(payload)
            elif tag == pod.HUNG_UP and talking:
                talking = False
                self._job.end()
            elif tag in (pod.FILE, pod.CONTENT, pod.DIGEST):
                await self._tell(framed(tag, self._returned.checked(tag, payload)))
            elif tag == pod.ENDED and not self._returned.open:
                await self._tell(document(pod.ENDED, claims.ended(payload)))
                await self._send(framed(pod.BYE))
                return
            elif tag == pod.REACHED:
                raise claims.reached(payload)
            else:
                raise ChannelError("out_of_sequence", "a frame of the pod's")

    async def _hear_warden(self) -> None:
        while chunk := await self._job.some(pod.MAX_FRAME_BYTES):
            await self._send(framed(pod.JOB, chunk))
        await self._send(framed(pod.HUNG_UP))
        await asyncio.Event().wait()  # the pod has the last word

    async def _hear_runner(self) -> None:
        """EXPECT, once; then whatever is for the pod. That the runner hangs up ends everything."""
        while True:
            try:
                tag, payload = await read_framed(self._link.reader)
            except ChannelError:
                return
            if tag == EXPECT and not self._expected.done():
                said = decode(payload)
                self._expected.set_result((str(said["uid"]), str(said["address"])))
            elif self._arrived.is_set():
                await self._pass_on(framed(tag, payload))
            elif tag == pod.BYE:
                return
            else:
                raise ChannelError("out_of_sequence", "nothing may be sent before the pod has arrived")

    async def _pass_on(self, frame: bytes) -> None:
        """To the pod. Where its connection has ended, whoever reads from it knows why, and ends everything with that reason."""
        try:
            await self._send(frame)
        except ChannelError as error:
            if error.kind != "eof":
                raise
            await asyncio.Event().wait()

    async def _watch_canary(self) -> None:
        """Whoever reaches the canary's port from the pod's address has a network that is not held."""
        listener = socket.socket(fileno=self._doors.canary)
        while True:
            sock, peer = await accepted(listener)
            sock.close()
            if self._expected.done() and self._expected.result()[1] == peer:
                raise ChannelError("unconfined", "canary, as seen from here")
            if len(self._strangers) < _MAX_STRANGERS:
                self._strangers.add(peer)

    async def _send(self, frame: bytes) -> None:
        try:
            async with self._to_pod, asyncio.timeout(self._patience.stall):
                self._pod.writer.write(frame)
                await self._pod.writer.drain()
        except TimeoutError:
            raise ChannelError("slow", f"the pod read nothing for {self._patience.stall} s") from None
        except OSError:
            raise ChannelError("eof", "the connection ended") from None

    async def _tell(self, frame: bytes) -> None:
        try:
            async with self._to_runner:
                self._link.writer.write(frame)
                await self._link.writer.drain()
        except OSError:
            raise ChannelError("eof", "the runner is gone") from None
