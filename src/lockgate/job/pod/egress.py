"""The stage's way out as the job knows it: a Unix socket, whose connections go to the runner's proxy over TLS, each with the egress ticket.

It runs as a process of its own beside the job, so that neither it nor what it imports is in the way of `ready`. It judges nothing.
"""

from __future__ import annotations

import os
import signal
import socket

from lockgate.contract import podchannel as pod

_BACKLOG = 64
_LIMIT = 1 << 17


def begin(address: str, pin: str, ticket: bytes) -> int:
    """Listen, and serve in a child; its pid. The job may connect at once. Raises OSError."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with listener:
        os.fchmod(listener.fileno(), 0o600)
        listener.bind(pod.EGRESS_SOCKET)
        listener.listen(_BACKLOG)
        pid = os.fork()
        if pid == 0:
            try:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _serve(listener, address, pin, ticket)
            finally:
                os._exit(70)
    return pid


def _serve(listener: socket.socket, address: str, pin: str, ticket: bytes) -> None:
    import asyncio
    import contextlib

    from lockgate.job.pod.line import LineError, check_pin, client_context
    from lockgate.wire.chunks import carry

    host, _, port = address.rpartition(":")
    context = client_context()

    async def one(inner: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        try:
            outer, out = await asyncio.open_connection(host, int(port), ssl=context, server_hostname="", limit=_LIMIT)
            try:
                check_pin(out.get_extra_info("ssl_object").getpeercert(binary_form=True), pin)
                out.write(ticket)
                await carry((inner, back), (outer, out))
            finally:
                out.transport.abort()
        except (OSError, EOFError, LineError):
            back.transport.abort()
        finally:
            back.close()

    async def main() -> None:
        server = await asyncio.start_unix_server(one, sock=listener, limit=_LIMIT)
        with contextlib.suppress(asyncio.CancelledError):
            await server.serve_forever()

    asyncio.run(main())
