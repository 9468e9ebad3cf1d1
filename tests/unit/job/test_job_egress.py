"""The loopback end of the way out: bytes go to the proxy's socket and come back, halves close one by one, and no proxy means no connection."""

import socket
import threading
from urllib.parse import urlsplit

from lockgate.job.egress import local_proxy


def dial(url: str) -> socket.socket:
    parts = urlsplit(url)
    assert parts.hostname == "127.0.0.1" and parts.port is not None
    sock = socket.create_connection((parts.hostname, parts.port), 30)
    sock.settimeout(30)
    return sock


def everything(sock: socket.socket) -> bytes:
    data = b""
    while chunk := sock.recv(65536):
        data += chunk
    return data


def test_bytes_go_both_ways_and_each_half_ends_for_itself(tmp_path):
    path = str(tmp_path / "proxy.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def serve():
            for _ in range(2):
                sock, _ = listener.accept()
                with sock:
                    sock.sendall(everything(sock)[::-1])  # answers only once the other half has ended

        threading.Thread(target=serve, daemon=True).start()
        url = local_proxy(path)
        with dial(url) as one, dial(url) as two:
            for sock, said in ((one, b"abc" * 100_000), (two, b"xyz")):
                sock.sendall(said)
                sock.shutdown(socket.SHUT_WR)
                assert everything(sock) == said[::-1]


def test_without_a_proxy_the_connection_ends(tmp_path):
    with dial(local_proxy(str(tmp_path / "nobody.sock"))) as sock:
        assert sock.recv(1) == b""
