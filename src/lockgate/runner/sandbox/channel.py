"""The runner's end of a job channel: it reads only what a warden wrote anew, and still checks every frame; it holds no policy."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from typing import Any, Final, cast

from lockgate.runner.sandbox.port import ChannelError, ChannelFault
from lockgate.runner.sandbox.sequence import ChannelSequence
from lockgate.runner.sandbox.warden import COUNT_BYTES, FAULT, MESSAGE, TAIL, TAIL_BYTES
from lockgate.wire.frames import HEADER_BYTES, LARGE_MESSAGE_BYTES, FrameError, decode, encode
from lockgate.wire.links import exactly

_FAULTS: Final = ("oversize", "malformed", "out_of_sequence", "eof")


class LinkChannel:
    """A ``SandboxChannel`` over the link to a warden. One task reads until the link ends; nothing it holds is unbounded."""

    def __init__(self, stage: str, link: socket.socket) -> None:
        link.setblocking(False)
        self._link = link
        self._sequence = ChannelSequence(stage)
        self._messages: asyncio.Queue[dict[str, Any] | ChannelError] = asyncio.Queue()
        self._fault: ChannelError | None = None
        self._heard: ChannelError | None = None
        self._closed = False
        self.output_tail = b""
        self.output_bytes = 0
        self._pump = asyncio.get_running_loop().create_task(self._read_link())

    async def send(self, message: Mapping[str, Any]) -> None:
        """Send ``message``; its ``type`` must be the runner's next one. Raises ChannelError."""
        step = self._sequence.expected()
        if self._closed or step is None or not self._sequence.advance("runner", message.get("type")):
            expected = f"{step.type} from the {step.side}" if step is not None else "nothing"
            raise ChannelError("out_of_sequence", f"cannot send {message.get('type')!r} now: expected {expected}")
        try:
            await asyncio.get_running_loop().sock_sendall(self._link, encode(message, step.limit))
        except FrameError as error:
            raise ChannelError("oversize" if error.kind == "oversize" else "malformed", error.detail) from None
        except OSError:
            await self.drained()  # the warden hung up; its reason may be on the way still
            heard = self._heard or ChannelError("eof", "the job is gone")
            raise ChannelError(heard.kind, heard.detail) from None

    async def receive(self) -> dict[str, Any]:
        """The job's next message. Raises ChannelError; a fault is final."""
        if self._fault is None:
            said = await self._messages.get()
            if not isinstance(said, ChannelError):
                return said
            self._fault = said
        raise ChannelError(self._fault.kind, self._fault.detail)

    async def close(self) -> None:
        """Say no more; the warden then ends the sandbox."""
        if not self._closed:
            self._closed = True
            try:
                self._link.shutdown(socket.SHUT_WR)
            except OSError:
                return

    async def drained(self) -> None:
        """Wait until the warden has said its last word."""
        await asyncio.shield(self._pump)

    async def release(self) -> None:
        """Give the descriptor back; what was received stays readable."""
        self._closed = True
        self._pump.cancel()
        await asyncio.wait([self._pump])
        self._link.close()

    async def _read_link(self) -> None:
        try:
            while True:
                length = int.from_bytes(await self._exactly(HEADER_BYTES), "big")
                if length > LARGE_MESSAGE_BYTES + 1:
                    raise ChannelError("oversize")
                self._take(await self._exactly(length))
        except ChannelError as error:
            self._put(error)

    def _put(self, fault: ChannelError) -> None:
        self._heard = self._heard or fault
        self._messages.put_nowait(fault)

    def _take(self, framed: bytes) -> None:
        tag, payload = framed[:1], framed[1:]
        if tag == TAIL:
            self.output_bytes = int.from_bytes(payload[:COUNT_BYTES], "big")
            self.output_tail = payload[COUNT_BYTES:][-TAIL_BYTES:]
        elif tag == FAULT:
            kind = payload.decode("ascii", "replace")
            self._put(ChannelError(cast(ChannelFault, kind) if kind in _FAULTS else "malformed"))
        elif tag == MESSAGE:
            self._take_message(payload)
        else:
            raise ChannelError("malformed", "unknown frame from the warden")

    def _take_message(self, payload: bytes) -> None:
        limit = self._sequence.limit_for("job")
        if limit is None:
            raise ChannelError("out_of_sequence")
        if len(payload) > limit:
            raise ChannelError("oversize")
        try:
            message = decode(payload)
        except FrameError as error:
            raise ChannelError("malformed", error.detail) from None
        if not self._sequence.advance("job", message.get("type")):
            raise ChannelError("out_of_sequence")
        self._messages.put_nowait(message)

    async def _exactly(self, count: int) -> bytes:
        try:
            return await exactly(self._link, count)
        except FrameError:
            raise ChannelError("eof") from None
