"""Length-prefixed strict JSON frames, the shape of every message on a job's channel; it must not know what the messages mean.

A frame is four bytes of length (unsigned, big-endian) and that many bytes of UTF-8 JSON holding one object. Strict means:
no duplicate keys, no NaN or infinity, no lone surrogates, bounded integers, depth and number of values. The job imports this
module before `ready`, so it needs no more than a scanner; an encoder is loaded with the first message that is written.
"""

from __future__ import annotations

from lockgate.contract import strictjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    import json
    from collections.abc import Mapping
    from typing import Any, Final, Literal, NoReturn, Protocol

    FaultKind = Literal["oversize", "malformed", "eof"]

    class ByteStream(Protocol):
        """What frames need of a blocking socket; the job passes a descriptor of its own, since importing `socket` costs it 11 ms."""

        def sendall(self, data: bytes, /) -> object:
            """Send all of it, or raise OSError."""
            ...

        def recv(self, size: int, /) -> bytes:
            """At most ``size`` bytes, none at the end of the stream, or raise OSError."""
            ...


HEADER_BYTES: Final = 4
SMALL_MESSAGE_BYTES: Final = 64 * 1024
LARGE_MESSAGE_BYTES: Final = 16 * 1024 * 1024
MAX_DEPTH: Final = 64
MAX_VALUES: Final = 2_000_000
MAX_INTEGER_DIGITS: Final = 20


class FrameError(ValueError):
    """A frame broke the rules; ``kind`` says which: too large, not strict JSON, or cut off by the end of the stream."""

    def __init__(self, kind: FaultKind, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind: FaultKind = kind
        self.detail = detail


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise FrameError("malformed", "an object repeats a key")
    return found


def _no_constant(text: str) -> NoReturn:
    raise FrameError("malformed", f"{text} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if number - number != 0:  # an infinity: text that is a JSON number never reads as NaN
        raise FrameError("malformed", "a number is too large")
    return number


def _bounded_int(text: str) -> int:
    if len(text) > MAX_INTEGER_DIGITS:
        raise FrameError("malformed", f"an integer has more than {MAX_INTEGER_DIGITS} digits")
    return int(text)


_decode: Final = strictjson.decoder(_unique, _bounded_int, _finite, _no_constant)
_encoders: Final[list[json.JSONEncoder]] = []


def load_encoder() -> json.JSONEncoder:
    """What writes messages; loaded at its first use, which for a process that gives up opening files must be this call."""
    if not _encoders:
        import json

        _encoders.append(json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")))
    return _encoders[0]


def _check_shape(message: dict[str, Any]) -> None:
    level: list[Any] = [message]
    seen = 0
    for _ in range(MAX_DEPTH):
        deeper: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                deeper.extend(value.values())
            elif isinstance(value, list):
                deeper.extend(value)
        seen += len(deeper)
        if seen > MAX_VALUES:
            raise FrameError("malformed", f"more than {MAX_VALUES} values")
        if not deeper:
            return
        level = deeper
    if any(isinstance(value, dict | list) for value in level):
        raise FrameError("malformed", f"nested deeper than {MAX_DEPTH}")


def decode(payload: bytes) -> dict[str, Any]:
    """The object in ``payload``; raises FrameError("malformed", …) unless it is strict JSON within the bounds above."""
    try:
        text = payload.decode("utf-8")
        message = _decode(text)
        if "\\u" in text:  # escapes are the only way to a lone surrogate, which no UTF-8 can carry on
            load_encoder().encode(message).encode("utf-8")
    except FrameError:
        raise
    except (ValueError, RecursionError, MemoryError) as error:
        raise FrameError("malformed", f"not strict JSON ({type(error).__name__})") from None
    if not isinstance(message, dict):
        raise FrameError("malformed", "a message must be a JSON object")
    _check_shape(message)
    return message


def encode(message: Mapping[str, Any], limit: int = LARGE_MESSAGE_BYTES) -> bytes:
    """One whole frame for ``message``; raises FrameError when it is not JSON or longer than ``limit`` bytes."""
    try:
        payload = load_encoder().encode(dict(message)).encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        raise FrameError("malformed", f"message cannot be written as JSON ({type(error).__name__})") from None
    return frame(payload, limit)


def frame(payload: bytes, limit: int = LARGE_MESSAGE_BYTES) -> bytes:
    """``payload`` behind its length; raises FrameError("oversize", …) beyond ``limit`` bytes."""
    if len(payload) > limit:
        raise FrameError("oversize", f"message of {len(payload)} bytes, at most {limit} allowed here")
    return len(payload).to_bytes(HEADER_BYTES, "big") + payload


class FrameBuffer:
    """Bytes that arrived and were not yet taken as frames; it never holds more than one frame beyond what was fed."""

    def __init__(self) -> None:
        self._data = bytearray()

    def __len__(self) -> int:
        return len(self._data)

    def feed(self, data: bytes) -> None:
        """Add bytes as they came from the stream."""
        self._data += data

    def take(self, limit: int) -> bytes | None:
        """The next payload, or None while incomplete; raises FrameError("oversize", …) from the header alone."""
        if len(self._data) < HEADER_BYTES:
            return None
        length = int.from_bytes(self._data[:HEADER_BYTES], "big")
        if length > limit:
            raise FrameError("oversize", f"message of {length} bytes, at most {limit} allowed here")
        end = HEADER_BYTES + length
        if len(self._data) < end:
            return None
        payload = bytes(self._data[HEADER_BYTES:end])
        del self._data[:end]
        return payload


def write_frame(sock: ByteStream, message: Mapping[str, Any], limit: int = LARGE_MESSAGE_BYTES) -> None:
    """Send ``message`` on a blocking socket; raises FrameError, OSError."""
    sock.sendall(encode(message, limit))


def read_frame(sock: ByteStream, limit: int = LARGE_MESSAGE_BYTES) -> dict[str, Any]:
    """Receive one message from a blocking socket; raises FrameError (``eof`` when the stream ends), OSError."""
    length = int.from_bytes(_read_exactly(sock, HEADER_BYTES), "big")
    if length > limit:
        raise FrameError("oversize", f"message of {length} bytes, at most {limit} allowed here")
    return decode(_read_exactly(sock, length))


def _read_exactly(sock: ByteStream, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        chunk = sock.recv(min(count - len(data), 1 << 20))
        if not chunk:
            raise FrameError("eof", "the stream ended")
        data += chunk
    return bytes(data)
