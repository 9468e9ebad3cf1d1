"""Files that a pod may write go out with it and come back; what is here meanwhile says so, and cannot be taken for the truth (TRUST §5)."""

from __future__ import annotations

import hashlib
from pathlib import Path

from lockgate.artifacts.files import write_whole
from lockgate.contract import podchannel as pod
from lockgate.runner.sandbox.network.delivery import MOVED_OUT
from lockgate.runner.sandbox.port import ChannelError, SandboxSpec
from lockgate.wire.frames import decode


class Returned:
    """The writable files of one stage, by their place in the pod. Every method that writes blocks on disk."""

    def __init__(self, spec: SandboxSpec) -> None:
        self._homes: dict[str, Path] = {bind.target: bind.source for bind in spec.binds if bind.writable}
        self._before: dict[str, bytes] = {}
        self._target = ""
        self._content = bytearray()
        self.content: dict[str, bytes] = {}

    @property
    def whole(self) -> bool:
        """Whether every file has come back."""
        return self.content.keys() == self._homes.keys()

    def move_out(self) -> None:
        """From here on the content is the pod's. Raises OSError."""
        for target, home in self._homes.items():
            self._before[target] = home.read_bytes()
            write_whole(home, MOVED_OUT)

    def stay(self) -> None:
        """No job was begun: what was moved out is still what holds. Raises OSError."""
        for target, content in self._before.items():
            write_whole(self._homes[target], content)

    def take(self, tag: bytes, payload: bytes) -> None:
        """One frame of a file; whole ones are written to where they came from. Raises ChannelError, OSError."""
        if tag == pod.FILE:
            self._target = str(decode(payload)["target"])
            self._content.clear()
            if self._target not in self._homes or self._target in self.content:
                raise ChannelError("malformed", "a file came back that was not asked for")
        elif tag == pod.CONTENT:
            self._content += payload
        else:
            if hashlib.sha256(self._content).digest() != payload:
                raise ChannelError("malformed", "a file that came back does not match its digest")
            self.content[self._target] = bytes(self._content)
            self._content.clear()
            write_whole(self._homes[self._target], self.content[self._target])
