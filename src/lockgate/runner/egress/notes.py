"""The runner's end of what a proxy notes: frames on one socket; it must keep nothing unbounded and wait for nobody for long."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from dataclasses import replace
from typing import Final

from lockgate.runner.egress.tunnels import CUT, MAX_NOTE_BYTES, OPEN, TunnelNote, read_note
from lockgate.wire.frames import HEADER_BYTES, FrameError
from lockgate.wire.links import exactly

_DRAIN_SECONDS: Final = 2.0


class TunnelNotes:
    """The runner's end: reads until the proxy is gone. At most `most` tunnels are kept; a fault ends the reading and is noted as such."""

    def __init__(self, link: socket.socket, most: int) -> None:
        link.setblocking(False)
        self._link = link
        self._most = most
        self._found: dict[int, TunnelNote] = {}
        self._pump = asyncio.get_running_loop().create_task(self._read())

    @property
    def tunnels(self) -> tuple[TunnelNote, ...]:
        """Every tunnel so far, in order of arrival; one that never reported its end was cut with its proxy."""
        running = not self._pump.done()
        return tuple(
            note if running or note.outcome != OPEN else replace(note, outcome=CUT) for note in self._found.values()
        )

    async def finish(self) -> None:
        """Ask the proxy to end, and wait a little for its last notes; what ends it for sure is the sandbox's teardown."""
        with contextlib.suppress(OSError):  # it may be gone already
            self._link.shutdown(socket.SHUT_WR)
        await asyncio.wait([self._pump], timeout=_DRAIN_SECONDS)

    async def release(self) -> None:
        """Give the descriptor back; what was noted stays readable."""
        self._pump.cancel()
        await asyncio.wait([self._pump])
        self._link.close()

    async def _read(self) -> None:
        try:
            while True:
                length = int.from_bytes(await exactly(self._link, HEADER_BYTES), "big")
                if length > MAX_NOTE_BYTES:
                    raise FrameError("oversize", "a note")
                self._take(read_note(await exactly(self._link, length)))
        except FrameError as fault:
            if fault.kind != "eof":
                self._found[-1] = TunnelNote(-1, "", 0, "", 0, 0, "unreadable_notes")

    def _take(self, note: TunnelNote) -> None:
        if note.number not in self._found and len(self._found) >= self._most:
            raise FrameError("oversize", "more notes than tunnels")
        self._found[note.number] = note
