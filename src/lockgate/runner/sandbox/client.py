"""The runner's hold on its launcher: starts it, sends it orders, hears what it tells; it must never wait on it without an end."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from lockgate.runner.sandbox.control import MAX_CONTROL_BYTES
from lockgate.runner.sandbox.port import SandboxUnavailable, SpecRefused
from lockgate.wire.frames import HEADER_BYTES, FrameError, decode, encode
from lockgate.wire.links import exactly

_ANSWER_SECONDS: Final = 60.0
_EXIT_SECONDS: Final = 30.0
_PACKAGES: Final = Path(__file__).resolve().parents[3]
LAUNCHER: Final = "lockgate.runner.sandbox.launcher"
_BOOT: Final = (
    "import importlib, sys; sys.path.append(sys.argv[1]); "
    "sys.exit(importlib.import_module(sys.argv[2]).main(sys.argv[3:]))"
)
"""The launcher needs the standard library and this package, nothing of site-packages: it starts faster and trusts less."""


class LauncherClient:
    """One launcher process and the socket to it. ``on_event`` hears of exits, ``on_end`` of the launcher's own end.

    ``program``: the module of the launcher, whose ``main`` is given the socket's descriptor.
    """

    def __init__(
        self, on_event: Callable[[dict[str, Any]], None], on_end: Callable[[], None], program: str = LAUNCHER
    ) -> None:
        self._on_event = on_event
        self._on_end = on_end
        self._program = program
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._seq = 0
        self._write = asyncio.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._sock: socket.socket | None = None
        self._pump: asyncio.Task[None] | None = None

    @property
    def alive(self) -> bool:
        """Whether the launcher can still be spoken to."""
        return self._sock is not None

    async def open(self) -> None:
        """Start the launcher: a fresh program, so none of this process's memory is in it."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - forking takes a millisecond, once
                [sys.executable, "-I", "-S", "-c", _BOOT, str(_PACKAGES), self._program, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=_environment(),
                cwd="/",
                start_new_session=True,
            )
        ours.setblocking(False)
        self._sock = ours
        self._pump = asyncio.get_running_loop().create_task(self._read(ours))

    async def ask(self, order: dict[str, Any], descriptors: list[int] | None = None) -> Any:
        """Give one order and wait for its answer; raises SpecRefused, SandboxUnavailable."""
        if self._sock is None:
            raise SandboxUnavailable("the sandbox launcher ended", "see its error above; the next call starts it anew")
        self._seq += 1
        seq = self._seq
        answer = self._answers[seq] = asyncio.get_running_loop().create_future()
        try:
            await self._send(encode({"seq": seq} | order, MAX_CONTROL_BYTES), descriptors or [])
            said = await asyncio.wait_for(answer, _ANSWER_SECONDS)
        except FrameError as error:
            raise SpecRefused(f"argv, env, binds: {error.detail}") from None
        except TimeoutError:
            raise SandboxUnavailable("the sandbox launcher does not answer", "restart the runner") from None
        except OSError:
            raise SandboxUnavailable("the sandbox launcher ended", "restart the runner") from None
        finally:
            self._answers.pop(seq, None)
        if "refused" in said:
            raise SpecRefused(said["refused"])
        if "unavailable" in said:
            raise SandboxUnavailable(said["unavailable"], said["fix"])
        return said["ok"]

    async def close(self) -> None:
        """Hang up; the launcher destroys what is left and ends. Idempotent."""
        if self._sock is not None:
            self._sock.shutdown(socket.SHUT_WR)
        if self._process is not None:
            process, self._process = self._process, None
            try:
                await asyncio.to_thread(process.wait, _EXIT_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                await asyncio.to_thread(process.wait)
        if self._pump is not None:
            await asyncio.wait([self._pump])

    async def _send(self, data: bytes, descriptors: list[int]) -> None:
        loop = asyncio.get_running_loop()
        async with self._write:
            sock = self._sock
            if sock is None:
                raise ConnectionError
            sent = 0
            while descriptors and not sent:
                try:
                    sent = socket.send_fds(sock, [data[:HEADER_BYTES]], descriptors)
                except BlockingIOError:
                    await asyncio.sleep(0.001)  # the buffer is full; there is no awaitable form of sending descriptors
            await loop.sock_sendall(sock, data[sent:])

    async def _read(self, sock: socket.socket) -> None:
        try:
            while True:
                length = int.from_bytes(await exactly(sock, HEADER_BYTES), "big")
                self._take(decode(await exactly(sock, min(length, MAX_CONTROL_BYTES * 16))))
        except (OSError, FrameError):
            self._ended()

    def _take(self, message: dict[str, Any]) -> None:
        if "event" in message:
            self._on_event(message)
            return
        waiting = self._answers.get(message.get("seq", 0))
        if waiting is not None and not waiting.done():
            waiting.set_result(message)

    def _ended(self) -> None:
        sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()
        for waiting in self._answers.values():
            if not waiting.done():
                waiting.set_exception(ConnectionError("the launcher ended"))
        self._on_end()


def _environment() -> dict[str, str]:
    """Nothing of the runner's environment but what its interpreter may need to start at all."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"} | kept


def sealed_memory_file(content: bytes) -> int:
    """A descriptor of ``content`` in memory, at its start; never on any disk. The caller closes it."""
    descriptor = os.memfd_create("injected", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
