"""A world of its own for the egress proxy: a network namespace with a resolver that lies on order, and "the internet" in a second one.

Run by `egress_world.World` under `unshare --user --net --mount`; it takes one JSON order a line and answers each with one. Any address can be
given to the internet's side, so the proxy under test is configured as a user would: nothing in it knows of a test.
"""

import contextlib
import ctypes
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path

from lockgate.runner.egress.rules import EgressLimits, EgressRules
from lockgate.runner.egress.spawn import bound_socket, fork_into_proxy
from lockgate.wire.frames import HEADER_BYTES, decode

CLONE_NEWNET = 0x40000000
ECHO, SILENT, TLS = 443, 444, 8443
REDIRECT = (
    b"HTTP/1.1 302 Found\r\nLocation: https://elsewhere.example:443/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)
IP = shutil.which("ip", path="/usr/sbin:/usr/bin:/sbin:/bin") or "ip"


def ip(*words):
    subprocess.run([IP, *words], check=True, stdout=subprocess.DEVNULL)


class Names:
    """A resolver: the nth question for a name gets the nth answer, the last one again and again."""

    def __init__(self):
        self.answers = {}
        self.asked = []
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind(("127.0.0.1", 53))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            query, peer = self._sock.recvfrom(4096)
            self._sock.sendto(self._reply(query), peer)

    def _reply(self, query):
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1 : at + 1 + query[at]].decode())
            at += 1 + query[at]
        kind = int.from_bytes(query[at + 1 : at + 3], "big")
        name, question = ".".join(labels).lower(), query[12 : at + 5]
        answers = self.answers.get(name)
        family = {1: socket.AF_INET, 28: socket.AF_INET6}.get(kind)
        self.asked.append([name, kind])
        if answers is None or family is None:
            return query[:2] + b"\x81\x83\0\1\0\0\0\0\0\0" + question
        turn = sum(1 for asked in self.asked if asked == [name, kind]) - 1
        found = [text for text in answers[min(turn, len(answers) - 1)] if (":" in text) == (kind == 28)]
        records = b""
        for text in found:
            data = socket.inet_pton(family, text)
            records += b"\xc0\x0c" + kind.to_bytes(2, "big") + b"\0\1\0\0\0\0" + len(data).to_bytes(2, "big") + data
        return query[:2] + b"\x81\x80\0\1" + len(found).to_bytes(2, "big") + b"\0\0\0\0" + question + records


def internet(addresses, certificate, ready):
    """In a child: the other side, with servers on every address; it ends with its parent."""
    ctypes.CDLL(None).unshare(CLONE_NEWNET)
    os.write(ready[1], b"x")
    sys.stdin.readline()  # the parent has moved our end of the cable here
    ip("link", "set", "lo", "up")
    ip("link", "set", "cable1", "up")
    for address in addresses:
        ip("addr", "add", address, "dev", "cable1", *(["nodad"] if ":" in address else []))
    ip("route", "add", "default", "dev", "cable1")
    ip("-6", "route", "add", "default", "dev", "cable1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    seen: dict[str, int] = {}
    for port, talk in ((ECHO, echo), (SILENT, keep_silent), (TLS, lambda sock: redirect(sock, context))):
        listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=128)
        threading.Thread(target=accept, args=(listener, talk, seen), daemon=True).start()
    print("up", flush=True)
    for _ in sys.stdin:
        print(json.dumps(seen), flush=True)


def accept(listener, talk, seen):
    while True:
        sock, _ = listener.accept()
        address = sock.getsockname()[0].removeprefix("::ffff:")
        seen[address] = seen.get(address, 0) + 1
        threading.Thread(target=talk, args=(sock,), daemon=True).start()


def echo(sock):
    with sock, contextlib.suppress(OSError):
        while data := sock.recv(65536):
            sock.sendall(data)


def keep_silent(sock):
    threading.Event().wait()
    sock.close()


def redirect(sock, context):
    with contextlib.suppress(OSError), context.wrap_socket(sock, server_side=True) as tls:
        tls.recv(4096)
        tls.sendall(REDIRECT)


class Proxies:
    """Proxies as the launcher starts them, and their notes."""

    def __init__(self):
        self._links = {}

    def start(self, order):
        given = order["rules"]
        limits = EgressLimits(**given.pop("limits", {}))
        rules = EgressRules(**{name: tuple(value) for name, value in given.items()}, limits=limits)
        listener = bound_socket(Path(order["socket"]), None)
        ours, theirs = socket.socketpair()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            fork_into_proxy(rules, listener, theirs, None, parent)
        listener.close()
        theirs.close()
        self._links[pid] = ours
        return {"pid": pid}

    def stop(self, order):
        link = self._links.pop(order["pid"])
        link.shutdown(socket.SHUT_WR)
        data = b""
        while chunk := link.recv(65536):
            data += chunk
        _, status = os.waitpid(order["pid"], 0)
        notes = []
        while data:
            length = int.from_bytes(data[:HEADER_BYTES], "big")
            notes.append(decode(data[HEADER_BYTES : HEADER_BYTES + length]))
            data = data[HEADER_BYTES + length :]
        return {"notes": notes, "exit": os.waitstatus_to_exitcode(status)}


def dial(order):
    """The positive control: without the proxy, from the same place, the address answers."""
    try:
        with socket.create_connection((order["address"], order["port"]), 10) as sock:
            return {"reached": sock.getpeername()[0]}
    except OSError as error:
        return {"error": str(error)}


def run(order):
    """A program in this world, on the proxy's side of the cable."""
    ran = subprocess.run(order["argv"], env=order["env"], cwd="/", capture_output=True, text=True, check=False)
    return {"code": ran.returncode, "out": ran.stdout, "err": ran.stderr[-4000:]}


def main(place, given):
    addresses = json.loads(given)
    etc = Path(place, "etc")
    etc.mkdir()
    (etc / "resolv.conf").write_text("nameserver 127.0.0.1\noptions attempts:1 timeout:5\n")
    (etc / "nsswitch.conf").write_text("hosts: dns\n")
    subprocess.run(["mount", "--bind", etc, "/etc"], check=True)
    ip("link", "set", "lo", "up")
    ready = os.pipe()
    command = [sys.executable, __file__, "internet", given, f"{place}/certificate.pem", str(ready[1])]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, pass_fds=[ready[1]])
    assert child.stdin is not None and child.stdout is not None
    told, heard = child.stdin, child.stdout
    os.read(ready[0], 1)
    ip("link", "add", "cable0", "type", "veth", "peer", "name", "cable1", "netns", str(child.pid))
    ip("link", "set", "cable0", "up")
    for mine in ("198.18.0.1/15", "2606:4700:aaaa::1/48"):
        ip("addr", "add", mine, "dev", "cable0", *(["nodad"] if ":" in mine else []))
    print("go", file=told, flush=True)
    assert heard.readline() == "up\n"
    for address in addresses:
        ip("route", "add", address.split("/")[0], "dev", "cable0")
    names, proxies = Names(), Proxies()

    def seen(_):
        print("seen", file=told, flush=True)
        return json.loads(heard.readline())

    orders = {
        "proxy": proxies.start,
        "stop": proxies.stop,
        "dial": dial,
        "run": run,
        "names": lambda order: names.answers.update(order["answers"]) or {},
        "asked": lambda _: {"asked": names.asked},
        "seen": seen,
    }
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        print(json.dumps(orders[order["op"]](order)), flush=True)
    told.close()
    child.wait()


if __name__ == "__main__":
    if sys.argv[1] == "internet":
        internet(json.loads(sys.argv[2]), sys.argv[3], (-1, int(sys.argv[4])))
    else:
        main(*sys.argv[1:])
