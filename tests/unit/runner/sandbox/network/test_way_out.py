"""The way out of a pod: the job's Unix socket, over TLS with a ticket of its own, to the stage's egress proxy, which judges as it does everywhere."""

import asyncio
import socket

import pytest
from tests.pods import all_that_comes, over_tls

from lockgate.contract import podchannel as pod
from lockgate.contract.jobplaces import EGRESS_VARIABLE
from lockgate.runner.egress.rules import EgressRules
from lockgate.runner.sandbox.port import ChannelError
from lockgate.wire.chunks import carry

RULES = EgressRules(("localhost:443",), (), ("127.0.0.2",))
ASKS = """
def ask(place):
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(os.environ["LOCKGATE_EGRESS_SOCKET"])
    sock.sendall(f"CONNECT {place} HTTP/1.1\\r\\n\\r\\n".encode())
    return sock.makefile("rb").readline().decode().strip()
hello(); ready()
result(answers=[ask("localhost:443"), ask("elsewhere.example:443")])
"""


async def test_what_the_stages_proxy_answers_reaches_the_job_and_is_noted(loopback):
    async with loopback.stage(ASKS, egress=RULES) as stage:
        await stage.run()
        answers = (await stage.converse())["answers"]
        await stage.host.ended()
    assert answers == ["HTTP/1.1 403 address_loopback", "HTTP/1.1 403 not_allowed"]
    assert [(note.host, note.outcome) for note in stage.host.tunnels] == [
        ("localhost", "address_loopback"),
        ("elsewhere.example", "not_allowed"),
    ]


async def test_a_stage_without_a_way_out_has_no_port_for_one(loopback):
    program = f"hello(); ready(); result(there={EGRESS_VARIABLE!r} in os.environ)"
    async with loopback.stage(program) as stage:
        assert stage.host.egress_port is None
        await stage.run()
        assert (await stage.converse())["there"] is False
        assert stage.host.tunnels == ()


@pytest.mark.parametrize(
    ("source", "ticket", "kind"),
    [("127.0.0.1", bytes(32), "wrong_ticket"), ("127.0.0.3", None, "wrong_peer")],
    ids=["another ticket", "another address"],
)
async def test_a_stranger_at_the_way_out_ends_the_run(loopback, source, ticket, kind):
    async with loopback.stage("hello(); time.sleep(3600)", egress=RULES) as stage:
        await stage.run()
        await stage.host.channel.receive()
        with loopback.network.connect(stage.host.egress_port, source) as plain:
            if ticket is not None:
                stranger = await asyncio.to_thread(over_tls, plain)
                stranger.sendall(ticket)
            with pytest.raises(ChannelError) as ended:
                await stage.host.channel.receive()
        assert ended.value.kind == kind


async def test_the_ticket_of_the_channel_is_none_for_the_way_out(loopback):
    async with loopback.stage("hello(); time.sleep(3600)", egress=RULES) as stage:
        await stage.run()
        await stage.host.channel.receive()
        with await asyncio.to_thread(over_tls, loopback.network.connect(stage.host.egress_port)) as stranger:
            stranger.sendall(stage.host.ticket)
            with pytest.raises(ChannelError) as ended:
                await stage.host.channel.receive()
            assert ended.value.kind == "wrong_ticket"
            assert await asyncio.to_thread(all_that_comes, stranger) == b""
    assert pod.egress_ticket(bytes(32)) != bytes(32)


async def pair() -> tuple[tuple[asyncio.StreamReader, asyncio.StreamWriter], socket.socket]:
    ours, theirs = socket.socketpair()
    theirs.settimeout(60)
    return await asyncio.open_unix_connection(sock=ours), theirs


async def test_each_direction_of_a_way_out_ends_by_itself():
    """As of a socket: who has said everything still hears the answer. TLS alone cannot do that."""
    left, job = await pair()
    right, proxy = await pair()
    middle, other = socket.socketpair()
    ends = [await asyncio.open_unix_connection(sock=sock) for sock in (middle, other)]
    carrying = [asyncio.ensure_future(carry(left, ends[0])), asyncio.ensure_future(carry(right, ends[1]))]
    asked, answered = bytes(range(256)) * 1024, b"the answer" * 30_000
    await asyncio.to_thread(job.sendall, asked)
    job.shutdown(socket.SHUT_WR)
    assert await asyncio.to_thread(all_that_comes, proxy) == asked

    def answer() -> None:
        proxy.sendall(answered)
        proxy.shutdown(socket.SHUT_WR)

    _, heard = await asyncio.gather(asyncio.to_thread(answer), asyncio.to_thread(all_that_comes, job))
    assert heard == answered
    await asyncio.gather(*carrying)
