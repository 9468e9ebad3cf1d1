"""What a pod says of itself, held to shape and size before the runner hears it; pure. All of it is a claim (TRUST §2)."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, Final

from lockgate.contract import podchannel as pod
from lockgate.runner.sandbox.port import ChannelError
from lockgate.wire.frames import HEADER_BYTES as LENGTH_BYTES
from lockgate.wire.frames import FrameError, decode, encode

MAX_RETURNED_FILES: Final = 64
CAUSES: Final = frozenset({"exit", "signal", "cpu", "disk", "wall", "destroyed"})
_UID: Final = 64
_DIGEST_BYTES: Final = 32
_MAX_NAME: Final = 64
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


def _read(payload: bytes, what: str) -> dict[str, Any]:
    try:
        return decode(payload)
    except FrameError as error:
        raise ChannelError("malformed", f"{what}: {error.detail}") from None


def _refused(payload: bytes) -> ChannelError:
    """The pod's own words why it cannot go on; shown only as plain text."""
    return ChannelError("not_placed", ascii(payload[: pod.MAX_WHY].decode("utf-8", "replace"))[1:-1])


def arrival(tag: bytes, payload: bytes) -> dict[str, Any]:
    """``{"pod", "checks", "had"}``. Raises ChannelError."""
    if tag == pod.REFUSED:
        raise _refused(payload)
    if tag != pod.ARRIVAL:
        raise ChannelError("out_of_sequence", "an arrival comes first")
    said = _read(payload, "arrival")
    if said.get("version") != pod.VERSION:
        raise ChannelError("malformed", "arrival.version: the image is of another release than the runner")
    uid, checks, had = said.get("pod"), said.get("checks"), said.get("had")
    plain = isinstance(uid, str) and 0 < len(uid) <= _UID and uid.isascii() and uid.isprintable()
    if not plain or not isinstance(checks, dict) or len(checks) > pod.MAX_CHECKS or not isinstance(had, list):
        raise ChannelError("malformed", "arrival")
    if not all(type(value) is bool for value in checks.values()):
        raise ChannelError("malformed", "arrival.checks")
    if len(had) > pod.MAX_HAD or not all(isinstance(each, str) and _SHA256.fullmatch(each) for each in had):
        raise ChannelError("malformed", "arrival.had")
    return {"pod": uid, "checks": checks, "had": had}


def reached(payload: bytes) -> ChannelError:
    """What the pod could reach after it was let in."""
    name = payload[:_MAX_NAME].decode("ascii", "replace")
    return ChannelError("unconfined", name if name.replace("_", "").isalnum() else "something")


def placed(tag: bytes, payload: bytes) -> None:
    """Every file is where it belongs. Raises ChannelError."""
    if tag == pod.REFUSED:
        raise _refused(payload)
    if tag == pod.REACHED:
        raise reached(payload)
    if tag != pod.PLACED or payload:
        raise ChannelError("out_of_sequence", "the files are not placed yet")


def ended(payload: bytes) -> dict[str, Any]:
    """``{"cause", "exit_code", "signal", "output_bytes", "tail"}``, the tail in base64. Raises ChannelError."""
    said = _read(payload, "end")
    if set(said) != {"cause", "exit_code", "signal", "output_bytes", "tail"} or said["cause"] not in CAUSES:
        raise ChannelError("malformed", "end")
    for name, most in (("exit_code", 255), ("signal", 64), ("output_bytes", 1 << 62)):
        value = said[name]
        if not (type(value) is int and 0 <= value <= most) and (value is not None or name == "output_bytes"):
            raise ChannelError("malformed", f"end.{name}")
    tail(said)
    return said


def tail(said: dict[str, Any]) -> bytes:
    """The end of the output. Raises ChannelError."""
    try:
        found = base64.b64decode(said["tail"], validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise ChannelError("malformed", "end.tail") from None
    if len(found) > pod.TAIL_BYTES:
        raise ChannelError("oversize", "end.tail")
    return found


class Returning:
    """Files that come back: FILE, CONTENT…, DIGEST, one after the other, so many and so much at most."""

    def __init__(self) -> None:
        self.open = False
        self._files = 0
        self._bytes = 0

    def checked(self, tag: bytes, payload: bytes) -> bytes:
        """What to tell the runner. Raises ChannelError."""
        if (tag == pod.FILE) == self.open:
            raise ChannelError("out_of_sequence", "a file that comes back")
        if tag == pod.FILE:
            self.open = True
            self._files += 1
            target = _read(payload, "file").get("target")
            if not isinstance(target, str) or self._files > MAX_RETURNED_FILES:
                raise ChannelError("malformed", "a file that comes back")
            return encode({"target": target})[LENGTH_BYTES:]
        if tag == pod.DIGEST:
            self.open = False
            if len(payload) != _DIGEST_BYTES:
                raise ChannelError("malformed", "a digest")
            return payload
        self._bytes += len(payload)
        if self._bytes > pod.MAX_RETURNED_BYTES:
            raise ChannelError("oversize", f"more than {pod.MAX_RETURNED_BYTES >> 20} MiB came back")
        return payload
