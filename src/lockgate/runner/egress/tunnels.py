"""One tunnel in words: what a proxy tells its runner, names and counts but never content; it must stay cheap to import."""

from __future__ import annotations

import socket
from dataclasses import asdict, dataclass
from typing import Final

from lockgate.wire.frames import FrameError, decode, encode

MAX_NOTE_BYTES: Final = 2 * 1024
OPEN: Final = "open"
CLOSED: Final = "closed"
CUT: Final = "cut"
_TYPES: Final = {
    "number": int, "host": str, "port": int, "address": str, "sent": int, "received": int, "outcome": str,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class TunnelNote:
    """One connection to the proxy. `host` is what was asked for (hostile text where it was refused), `address` what was connected to, or "".

    `outcome` is `open`, `closed`, `cut` (ended with the stage), or one word of why it was refused or ended.
    """

    number: int
    host: str
    port: int
    address: str
    sent: int
    received: int
    outcome: str


def tell(link: socket.socket, note: TunnelNote) -> None:
    """Write one note. It may block when the runner does not read: all notes of a stage together are of the size of a socket's buffer."""
    link.sendall(encode(asdict(note), MAX_NOTE_BYTES))


def read_note(payload: bytes) -> TunnelNote:
    """The note of one frame's payload. Raises FrameError."""
    said = decode(payload)
    if said.keys() != _TYPES.keys() or any(type(said[name]) is not kind for name, kind in _TYPES.items()):
        raise FrameError("malformed", "a note")
    return TunnelNote(**said)
