"""What the runner and its launcher say to each other: strict JSON frames and passed descriptors; no job's bytes ever travel here."""

from __future__ import annotations

import socket
from collections import deque
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from lockgate.runner.egress.rules import EgressLimits, EgressRules
from lockgate.runner.sandbox.port import Bind, InjectedFile, SandboxLimits, SandboxSpec, TeardownProof
from lockgate.wire.frames import FrameBuffer, decode

MAX_CONTROL_BYTES: Final = 1024 * 1024
_CHUNK: Final = 64 * 1024
MAX_DESCRIPTORS: Final = 128
_INT_BYTES: Final = 4


def spec_to_message(spec: SandboxSpec) -> dict[str, Any]:
    """A specification without the injected contents: those travel as sealed memory files, one descriptor each, in order."""
    return {
        "id": spec.id,
        "stage": spec.stage,
        "argv": list(spec.argv),
        "env": dict(spec.env),
        "binds": [
            {"source": str(b.source), "target": b.target, "writable": b.writable, "gid": b.gid, "owned": b.owned}
            for b in spec.binds
        ],
        "files": [{"target": file.target, "mode": file.mode} for file in spec.files],
        "limits": asdict(spec.limits),
        "egress": None if spec.egress is None else asdict(spec.egress),
    }


def spec_from_message(message: dict[str, Any]) -> SandboxSpec:
    """The specification back, with empty contents; raises KeyError, TypeError on a foreign shape."""
    return SandboxSpec(
        id=message["id"],
        stage=message["stage"],
        argv=tuple(message["argv"]),
        env=message["env"],
        binds=tuple(
            Bind(Path(b["source"]), b["target"], b["writable"], b["gid"], b["owned"]) for b in message["binds"]
        ),
        files=tuple(InjectedFile(file["target"], b"", file["mode"]) for file in message["files"]),
        limits=SandboxLimits(**message["limits"]),
        egress=None if message["egress"] is None else rules_from_message(message["egress"]),
    )


def rules_from_message(said: dict[str, Any]) -> EgressRules:
    """The rules of a stage's proxy back; raises KeyError, TypeError on a foreign shape."""
    return EgressRules(
        destinations=tuple(said["destinations"]),
        private=tuple(said["private"]),
        control_plane=tuple(said["control_plane"]),
        limits=EgressLimits(**said["limits"]),
    )


def proof_to_message(proof: TeardownProof) -> dict[str, Any]:
    """A proof as JSON."""
    return asdict(proof) | {"checks": dict(proof.checks)}


def proof_from_message(message: dict[str, Any]) -> TeardownProof:
    """The proof back."""
    return TeardownProof(**message)


def receive_descriptors(sock: socket.socket, size: int) -> tuple[bytes, list[int]]:
    """At most `size` bytes, and the descriptors that came with them, none of which a program started later inherits."""
    # Not socket.recv_fds: it drops its flags argument, and a descriptor without close-on-exec would reach the next sandbox.
    room = socket.CMSG_SPACE(MAX_DESCRIPTORS * _INT_BYTES)
    data, ancillary, _, _ = sock.recvmsg(size, room, socket.MSG_CMSG_CLOEXEC)
    found: list[int] = []
    for level, kind, passed in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.extend(memoryview(passed[: len(passed) // _INT_BYTES * _INT_BYTES]).cast("i"))
    return data, found


class ControlReader:
    """Frames and descriptors as they arrive on the launcher's side of the control socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = FrameBuffer()
        self.descriptors: deque[int] = deque()

    def read(self) -> bool:
        """Take in what waits; False at the end of the stream."""
        data, passed = receive_descriptors(self._sock, _CHUNK)
        self.descriptors.extend(passed)
        self._buffer.feed(data)
        return bool(data)

    def take(self) -> dict[str, Any] | None:
        """The next whole message; raises FrameError."""
        payload = self._buffer.take(MAX_CONTROL_BYTES)
        return None if payload is None else decode(payload)
