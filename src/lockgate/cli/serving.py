"""Runs one server of a zone in this process: signals stop it, readiness is told by sd_notify. It must not know what it serves."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Protocol

NOTIFY_VARIABLE = "NOTIFY_SOCKET"
COLLECT_AFTER = (20_000, 20, 100)
"""Objects made until the youngest are looked through, and how many such rounds until the older ones are."""
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Serve(Protocol):
    """A zone's `serve` with its settings bound."""

    def __call__(self, *, ready: asyncio.Event, stop: asyncio.Event) -> Awaitable[None]: ...


def run_server(serve: Serve, *, until_stdin_closes: bool) -> None:
    """Serve until SIGTERM, SIGINT (a second one ends at once) or, where asked, the end of stdin. Raises what `serve` raises."""
    notify = os.environ.pop(NOTIFY_VARIABLE, "")
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(serve, notify, until_stdin_closes))


async def _serve(serve: Serve, notify: str, until_stdin_closes: bool) -> None:
    ready, stop = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    work = asyncio.ensure_future(serve(ready=ready, stop=stop))

    def asked() -> None:
        if stop.is_set():
            work.cancel()
        stop.set()

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, asked)
    if until_stdin_closes:
        loop.add_reader(sys.stdin.fileno(), _on_stdin, loop, stop)
    told = asyncio.create_task(_tell(ready, notify))
    try:
        await work
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        told.cancel()


def _on_stdin(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        loop.remove_reader(sys.stdin.fileno())
        stop.set()


async def _tell(ready: asyncio.Event, notify: str) -> None:
    """sd_notify(3): READY=1 to whoever started us and wants to know."""
    await ready.wait()
    settle()
    if notify:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
            line.connect("\0" + notify[1:] if notify.startswith("@") else notify)
            line.send(b"READY=1")


def settle() -> None:
    """What a server loaded to get ready stays as long as it does: the collector need not look through it again and again.

    It took a quarter of a governed call: each full collection walked some hundred thousand objects of libraries, and calls make enough
    new ones to bring one about every few hundred calls. Cyclic garbage of calls is still collected, in larger portions.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop

    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
