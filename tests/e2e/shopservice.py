"""A service in the cluster that a story's change is made to: one message over HTTPS, read with one token and written with another; it tells in its log who did what."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.attacks.egress_world import certificate
from tests.cluster.pods import restricted
from tests.cluster.running import Cluster, until

HOST, PORT = "shop.example", 8443
READ, WRITE = "may-only-read-4711", "may-also-write-0815"

_SERVER = """
import http.server, json, os, ssl
tokens, message = {tokens!r}, ["closed"]
class Shop(http.server.BaseHTTPRequestHandler):
    def answer(self):
        who = tokens.get(self.headers.get("Authorization", "").removeprefix("Bearer "), "nobody")
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        may = who == "writer" or (who == "reader" and self.command == "GET")
        if may and self.command == "PUT":
            message[0] = content
        print(json.dumps({{"method": self.command, "who": who, "done": may, "content": content}}), flush=True)
        told = message[0].encode()
        self.send_response(200 if may else 403)
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)
    do_GET = do_PUT = answer
    def log_message(self, *told): pass
pair = os.memfd_create("pair")
os.write(pair, {pair!r})
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/proc/self/fd/" + str(pair))
server = http.server.ThreadingHTTPServer(("", {port}), Shop)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


@dataclass(frozen=True)
class Shop:
    """A running one: where it is, and by which certificate it is known."""

    cluster: Cluster
    namespace: str
    address: str
    authority: str

    def requests(self) -> list[dict[str, Any]]:
        """What was asked of it so far, in order."""
        return [json.loads(line) for line in self.cluster.logs(self.namespace, "shop").splitlines()]


@contextmanager
def running(cluster: Cluster, image: str) -> Iterator[Shop]:
    """A pod of a namespace of its own, which no policy closes."""
    pair = certificate(HOST)
    code = _SERVER.format(tokens={READ: "reader", WRITE: "writer"}, pair=pair, port=PORT)
    with cluster.namespace() as namespace:
        cluster.api.ask("POST", f"/api/v1/namespaces/{namespace}/pods", restricted("shop", image, code))

        def address() -> str:
            status = cluster.api.ask("GET", f"/api/v1/namespaces/{namespace}/pods/shop")["status"]
            return str(status.get("podIP", "")) if status.get("phase") == "Running" else ""

        authority = pair[pair.index(b"-----BEGIN CERTIFICATE") :].decode()
        yield Shop(cluster, namespace, until(address), authority)
