"""What may go through an established tunnel, how much of it and for how long; and what no request can talk the proxy into."""

from __future__ import annotations

import contextlib
import socket
import ssl

import pytest
from tests.attacks.egress_world import (
    OTHER,
    World,
    client_hello,
    connect,
    everything,
    first_line,
    records,
    with_extension,
)

HELLO = client_hello()


def through(world: World, first: bytes, **rules: object) -> tuple[bytes, str]:
    """What came back through a tunnel after these first bytes, and the tunnel's outcome."""
    with world.proxy(**rules) as egress:
        back = egress.through(first)
    return back, egress.outcomes[0]


def test_the_server_name_must_be_the_host_that_was_asked_for(world: World) -> None:
    """Domain fronting: the address is allowed, the name inside is another customer's of the same front."""
    assert through(world, client_hello("other.example")) == (b"", "server_name_mismatch")
    assert through(world, client_hello("api.example.other.example")) == (b"", "server_name_mismatch")


def test_a_hello_without_a_server_name_is_refused(world: World) -> None:
    assert through(world, client_hello(None)) == (b"", "no_server_name")


@pytest.mark.parametrize("kind", [0xFE0D, 0xFFCE])
def test_a_name_that_only_the_server_can_read_is_refused(world: World, kind: int) -> None:
    """Encrypted ClientHello: the outer name is the host's, the one that counts may be anybody's."""
    assert through(world, with_extension(HELLO, kind, b"\0" * 40)) == (b"", "encrypted_hello")


def test_a_second_server_name_is_refused(world: World) -> None:
    name = b"other.example"
    listed = b"\0" + len(name).to_bytes(2, "big") + name
    twice = with_extension(HELLO, 0, len(listed).to_bytes(2, "big") + listed)
    assert through(world, twice) == (b"", "malformed_hello")


@pytest.mark.parametrize("size", [100, 40])
def test_a_hello_in_many_records_is_read_whole(world: World, size: int) -> None:
    """The name may be cut anywhere: a proxy that looks at the first record only would miss it."""
    assert through(world, records(HELLO, size)) == (records(HELLO, size), "closed")
    assert through(world, records(client_hello("other.example"), size)) == (b"", "server_name_mismatch")


def test_a_hello_in_a_thousand_records_is_refused(world: World) -> None:
    assert through(world, records(HELLO, 1)) == (b"", "oversize_hello")


def test_a_giant_hello_is_refused_before_it_is_whole(world: World) -> None:
    giant = with_extension(HELLO, 21, b"\0" * 60_000)[9:]
    framed = b"\x01" + len(giant).to_bytes(3, "big") + giant
    assert through(world, records(b"\0" * 5 + framed, 16_000)) == (b"", "oversize_hello")


@pytest.mark.parametrize(
    ("first", "outcome"),
    [
        (b"GET / HTTP/1.1\r\nHost: api.example\r\n\r\n", "no_tls"),
        (b"SSH-2.0-x\r\n", "no_tls"),
        (b"\x16\x02\x00\x00\x10" + b"\0" * 16, "no_tls"),
        (b"\x17\x03\x03\x00\x10" + b"\0" * 16, "no_tls"),
        (b"\x16\x03\x01\x00\x10\x02" + b"\0" * 15, "no_tls"),
        (b"\x16\x03\x01\x00\x00" + b"\0" * 16, "malformed_hello"),
        (b"\x16\x03\x01\xff\xff" + b"\0" * 16, "malformed_hello"),
        (HELLO[:9] + b"\x03\x01" + HELLO[11:], "old_tls"),
        (HELLO[:-1], "no_hello"),
        (b"", "no_hello"),
    ],
)
def test_what_is_no_whole_client_hello_does_not_go_on(world: World, first: bytes, outcome: str) -> None:
    assert through(world, first) == (b"", outcome)


def test_a_redirect_is_the_clients_to_follow_and_leads_nowhere_new(world: World) -> None:
    """The proxy passes the answer on and connects to no other place; asking for that place is refused like any other."""
    before = world.connections(OTHER)
    with world.proxy("api.example:8443") as egress:
        with egress.tunnel("api.example:8443") as sock:
            context = ssl.create_default_context(cafile=str(world.place / "certificate.pem"))
            with context.wrap_socket(sock, server_hostname="api.example") as tls:
                tls.sendall(b"GET / HTTP/1.1\r\nHost: api.example\r\n\r\n")
                assert b"Location: https://elsewhere.example:443/" in tls.recv(4096)
        assert egress.refused("elsewhere.example:443") == "HTTP/1.1 403 not_allowed"
    assert world.connections(OTHER) == before
    assert len(egress.notes) == 2


REQUESTS = {
    "an absolute-form GET": (b"GET http://api.example/ HTTP/1.1\r\nHost: api.example\r\n\r\n", "405 only_connect"),
    "an https GET": (b"GET https://api.example:443/ HTTP/1.1\r\n\r\n", "405 only_connect"),
    "a POST": (b"POST http://169.254.169.254/latest/ HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "405 only_connect"),
    "HTTP/2's preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400 malformed_request"),
    "HTTP/0.9": (b"GET /\r\n\r\n", "400 malformed_request"),
    "another version": (connect("api.example:443", version="HTTP/2.0"), "400 malformed_request"),
    "a lower-case method": (b"connect api.example:443 HTTP/1.1\r\n\r\n", "400 malformed_request"),
    "two spaces": (b"CONNECT  api.example:443 HTTP/1.1\r\n\r\n", "400 malformed_request"),
    "a body": (connect("api.example:443", "Content-Length: 4") + b"body", "400 request_body"),
    "a body by chunks": (connect("api.example:443", "Transfer-Encoding: chunked"), "400 request_body"),
    "a hidden body": (connect("api.example:443", "Transfer-Encoding : chunked"), "400 malformed_request"),
    "a folded header": (connect("api.example:443", "X: a", " b"), "400 malformed_request"),
    "a bare line feed": (b"CONNECT api.example:443 HTTP/1.1\nHost: evil.example\r\n\r\n", "400 malformed_request"),
    "a bare return": (connect("api.example:443", "X: a\rHost: evil.example"), "400 malformed_request"),
    "a NUL": (connect("api.example:443", "X: a\0b"), "400 malformed_request"),
    "another host": (connect("api.example:443", "Host: evil.example:443"), "400 host_mismatch"),
    "bytes before the answer": (connect("api.example:443") + HELLO, "400 bytes_before_answer"),
    "a second request behind": (connect("api.example:443") + connect("evil.example:443"), "400 bytes_before_answer"),
    "too many headers": (connect("api.example:443", *(f"X{n}: y" for n in range(33))), "431 too_many_headers"),
    "one giant header": (connect("api.example:443", "X: " + "y" * 20_000), "431 oversize_request"),
    "no end of headers": (b"CONNECT api.example:443 HTTP/1.1\r\n" + b"X: y\r\n" * 5000, "431 oversize_request"),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_no_other_request_gets_through(world: World, name: str) -> None:
    request, answer = REQUESTS[name]
    with world.proxy() as egress:
        assert egress.ask(request) == f"HTTP/1.1 {answer}"
    assert egress.outcomes == [answer.split()[1]]
    assert egress.notes[0]["address"] == ""


@pytest.mark.parametrize(
    "request_", [connect("api.example:443", version="HTTP/1.0"), connect("api.example:443", "Host: api.example")]
)
def test_what_real_tools_say_is_understood(world: World, request_: bytes) -> None:
    """Python's own library says HTTP/1.0 up to 3.11; some tools leave the port out of Host."""
    with world.proxy() as egress:
        assert egress.ask(request_) == "HTTP/1.1 200 Connection established"


def test_a_slow_request_and_a_slow_hello_end_at_their_time(world: World) -> None:
    """Slow-loris: a byte now and then does not win more time."""
    with world.proxy(limits={"handshake_seconds": 1}) as egress:
        with egress.connect() as sock:
            sock.sendall(b"CONN")
            assert first_line(sock) == "HTTP/1.1 408 slow_request"
        with egress.tunnel() as sock:
            sock.sendall(HELLO[:50])
            assert everything(sock) == b""
    assert egress.outcomes == ["slow_request", "slow_hello"]


def test_a_tunnel_has_its_time_and_a_half_open_one_less(world: World) -> None:
    rules = {"destinations": ("api.example:444",)}
    with world.proxy(**rules, limits={"tunnel_seconds": 1}) as egress, egress.tunnel("api.example:444") as sock:
        sock.sendall(HELLO)
        assert everything(sock) == b""
    assert egress.outcomes == ["time"]
    with world.proxy(**rules, limits={"half_open_seconds": 1}) as egress, egress.tunnel("api.example:444") as sock:
        sock.sendall(HELLO)
        sock.shutdown(socket.SHUT_WR)
        assert everything(sock) == b""
    assert egress.outcomes == ["half_open"]


def test_bytes_are_counted_over_all_tunnels_in_both_directions_and_end_at_the_cap(world: World) -> None:
    block = b"x" * 10_000
    with world.proxy(limits={"total_bytes": 3 * len(HELLO) + 200_000}) as egress:
        assert egress.through(HELLO) == HELLO
        with egress.tunnel() as sock, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            sock.sendall(HELLO)
            for _ in range(100):
                sock.sendall(block)
            everything(sock)
        assert egress.through(HELLO) == b""
    assert egress.outcomes == ["closed", "bytes", "bytes"]
    assert sum(note["sent"] + note["received"] for note in egress.notes) <= 3 * len(HELLO) + 200_000


def test_tunnels_are_capped_at_once_and_over_the_stages_life(world: World) -> None:
    with world.proxy(limits={"at_once": 2, "tunnels": 4}) as egress:
        with egress.tunnel() as one, egress.tunnel() as two:
            assert egress.refused("api.example:443") == "HTTP/1.1 503 too_many_at_once"
            for sock in (one, two):
                sock.sendall(HELLO)
                sock.shutdown(socket.SHUT_WR)
                assert everything(sock) == HELLO
        assert egress.through(HELLO) == HELLO
        for _ in range(3):
            assert egress.refused("api.example:443") == "HTTP/1.1 429 too_many"
    assert egress.outcomes == ["closed", "closed", "too_many_at_once", "closed", "too_many"]


def test_what_is_open_at_the_end_is_cut_and_noted(world: World) -> None:
    with world.proxy() as egress:
        sock = egress.connect()
        sock.sendall(connect("api.example:443"))
        assert first_line(sock) == "HTTP/1.1 200 Connection established"
        sock.sendall(HELLO)
        assert sock.recv(len(HELLO), socket.MSG_WAITALL) == HELLO
    assert everything(sock) == b""
    sock.close()
    (note,) = egress.notes
    assert (note["outcome"], note["sent"], note["received"]) == ("cut", len(HELLO), len(HELLO))


def test_nothing_of_the_content_is_told(world: World) -> None:
    with world.proxy() as egress, egress.tunnel() as sock:
        sock.sendall(HELLO)
        sock.recv(len(HELLO), socket.MSG_WAITALL)
        sock.sendall(b"the content of a letter")
        sock.shutdown(socket.SHUT_WR)
        assert everything(sock) == b"the content of a letter"
    assert "letter" not in str(egress.told)
    assert set(egress.told[0]) == {"number", "host", "port", "address", "sent", "received", "outcome"}
