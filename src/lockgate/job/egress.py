"""A loopback address for tools that know proxies by TCP only: bytes go to the egress proxy's Unix socket and back; it judges nothing."""

from __future__ import annotations

import socket
import threading

_CHUNK = 1 << 16
_STACK_BYTES = 1 << 18
_BACKLOG = 64


def local_proxy(path: str) -> str:
    """The URL of a proxy at this sandbox's own loopback that leads to the Unix socket at `path`. Raises OSError."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
    threading.stack_size(_STACK_BYTES)  # two small threads for each connection; the proxy caps how many those are
    threading.Thread(target=_accept, args=(listener, path), daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def _accept(listener: socket.socket, path: str) -> None:
    while True:
        client, _ = listener.accept()
        proxy = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            proxy.connect(path)
        except OSError:
            client.close()
            proxy.close()
            continue
        ends = threading.Barrier(2)
        for source, sink in ((client, proxy), (proxy, client)):
            threading.Thread(target=_copy, args=(source, sink, ends), daemon=True).start()


def _copy(source: socket.socket, sink: socket.socket, ends: threading.Barrier) -> None:
    try:
        while chunk := source.recv(_CHUNK):
            sink.sendall(chunk)
        sink.shutdown(socket.SHUT_WR)
    except OSError:  # one side is gone: so is the other
        for end in (source, sink):
            _hang_up(end)
    ends.wait()  # a descriptor is closed only when neither thread uses it any more
    source.close()


def _hang_up(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
