# ruff: noqa: S101 - a contract suite asserts, and names paths inside the sandbox
"""The one way out, where a stage has one: it leads to its proxy and nowhere else, and is gone with the sandbox."""

from __future__ import annotations

import socket
from typing import Final

from lockgate.runner.egress.rules import EgressLimits, EgressRules
from lockgate.runner.sandbox.port import EGRESS_VARIABLE
from lockgate.testing.sandbox.bench import Bench, check, converse

_ASKING: Final = f"""
def ask(request):
    with socket.socket(socket.AF_UNIX) as proxy:
        proxy.connect(os.environ[{EGRESS_VARIABLE!r}])
        proxy.sendall(request)
        return proxy.recv(4096).split(b"\\r\\n")[0].decode()
def asked(place): return ask(f"CONNECT {{place}} HTTP/1.1\\r\\n\\r\\n".encode())
"""
_TRIES: Final = """
inputs = begin()
def tcp(): socket.create_connection(("127.0.0.1", inputs["port"]), 3)
def tcp_name(): socket.create_connection(("localhost", inputs["port"]), 3)
def udp(): socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
def raw_socket(): socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)
def sctp(): socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132)
def tcp6(): socket.socket(socket.AF_INET6)
def netlink(): socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
def outside(): socket.create_connection(("192.0.2.1", 443), 3)
def names(): socket.getaddrinfo("example.org", 443)
reached = [one.__name__ for one in (tcp, tcp_name, udp, raw_socket, sctp, tcp6, netlink, outside, names) if not failed(one)]
"""


@check
async def without_egress_there_is_no_way_out(bench: Bench) -> None:
    """No socket is shown, and not even a TCP socket can be made."""
    program = (
        _TRIES
        + "result(reached=reached, named="
        + repr(EGRESS_VARIABLE)
        + " in os.environ, tcp=failed(socket.socket))\n"
    )
    found = await bench.ask(program, {"port": 1})
    assert (found["reached"], found["named"]) == ([], False)
    assert found["tcp"]


@check
async def with_egress_the_proxy_is_the_only_way(bench: Bench) -> None:
    """The host's loopback stays out of reach by the proxy too; every tunnel is noted; tools can talk to each other at their own loopback."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        rules = EgressRules((f"localhost:{port}",), (), ("127.0.0.1",), EgressLimits(tunnels=8))
        program = (
            _ASKING
            + _TRIES
            + """
own = socket.create_server(("127.0.0.1", 0))
loopback = failed(socket.create_connection, own.getsockname())
answers = [asked(f"localhost:{inputs['port']}"), asked(f"127.0.0.1:{inputs['port']}"), asked("example.org:443"), ask(b"GET / HTTP/1.1\\r\\n\\r\\n")]
result(reached=reached, answers=answers, loopback=loopback)
channel.recv(1)
"""
        )
        async with bench.running(program, egress=rules) as run:
            found = await converse(run, {"port": port})
    assert found["reached"] == []
    assert found["answers"] == [
        "HTTP/1.1 403 address_loopback",
        "HTTP/1.1 403 not_allowed",
        "HTTP/1.1 403 not_allowed",
        "HTTP/1.1 405 only_connect",
    ]
    assert found["loopback"] == ""
    outcomes = [(note.host, note.outcome) for note in run.tunnels]
    assert outcomes == [
        ("localhost", "address_loopback"),
        ("127.0.0.1", "not_allowed"),
        ("example.org", "not_allowed"),
        ("", "only_connect"),
    ]


@check
async def the_proxy_is_gone_with_its_sandbox(bench: Bench) -> None:
    """Also with a connection that is never finished; the proof says that it was looked for."""
    program = (
        _ASKING
        + """
begin()
proxy = socket.socket(socket.AF_UNIX)
proxy.connect(os.environ["LOCKGATE_EGRESS_SOCKET"])
proxy.sendall(b"CONNECT ")
channel.recv(1)
"""
    )
    run = await bench.provider.start(bench.spec(program, egress=EgressRules(("localhost:1",), (), ("127.0.0.1",))))
    await run.channel.receive()
    await run.channel.send({"type": "inputs"})
    await run.channel.receive()
    proof = await bench.provider.destroy(run.id)
    assert proof.torn_down and proof.checks["egress"], proof
    assert list(bench.base.rglob(f"*{run.id}*")) == []
