"""What a stage's porter and its runner say to each other, beside what both pass on for the pod; data only, it does no I/O."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final, get_args

from lockgate.contract.podchannel import HEADER_BYTES, MAX_FRAME_BYTES
from lockgate.runner.sandbox.port import ChannelError, ChannelFault, JobFault, NetworkFault
from lockgate.wire.frames import HEADER_BYTES as LENGTH_BYTES
from lockgate.wire.frames import decode, encode


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: from a connection to its ticket, from there to what the pod says of itself, and for the pod to read what it is sent."""

    ticket: float = 10.0
    arrival: float = 30.0
    stall: float = 60.0


EXPECT: Final = b"X"
"""Runner to porter: the pod's uid and address as the API tells them. Everything else the runner says goes on to the pod."""
FAULT: Final = b"!"
"""Porter to runner: why the run is over. It is its last word."""

FAULTS: Final[frozenset[str]] = frozenset({*get_args(JobFault), *get_args(NetworkFault)})
MAX_DETAIL: Final = 300


def framed(tag: bytes, payload: bytes = b"") -> bytes:
    """One frame. Raises ValueError for a payload over MAX_FRAME_BYTES: the sender's own mistake."""
    if len(payload) > MAX_FRAME_BYTES:
        raise ValueError(f"a frame holds at most {MAX_FRAME_BYTES} bytes, not {len(payload)}")
    return (len(payload) + 1).to_bytes(LENGTH_BYTES, "big") + tag + payload


def document(tag: bytes, content: dict[str, Any]) -> bytes:
    """One frame that holds a JSON object."""
    return framed(tag, encode(content, MAX_FRAME_BYTES)[LENGTH_BYTES:])


def content_length(header: bytes) -> int:
    """How many bytes follow the length and tag of a frame. Raises ChannelError."""
    length = int.from_bytes(header[:LENGTH_BYTES], "big") - 1
    if not 0 <= length <= MAX_FRAME_BYTES:
        raise ChannelError("oversize", f"a frame of {length} bytes, at most {MAX_FRAME_BYTES} are allowed")
    return length


async def read_framed(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """The next frame's tag and payload. Raises ChannelError: oversize by its header alone, or eof."""
    try:
        header = await reader.readexactly(HEADER_BYTES)
        return header[LENGTH_BYTES:], await reader.readexactly(content_length(header))
    except (asyncio.IncompleteReadError, OSError):  # an SSLError is one too
        raise ChannelError("eof", "the connection ended") from None


def fault(error: ChannelError) -> bytes:
    """The frame that says why it is over."""
    return document(FAULT, {"kind": error.kind, "detail": error.detail[:MAX_DETAIL]})


def read_fault(payload: bytes) -> ChannelError:
    """The error of such a frame. Raises FrameError."""
    said = decode(payload)
    kind, detail = said.get("kind"), said.get("detail")
    if kind not in FAULTS or not isinstance(detail, str):
        return ChannelError("malformed", "the porter's last word")
    named: ChannelFault = kind
    return ChannelError(named, detail[:MAX_DETAIL])
