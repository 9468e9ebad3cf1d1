"""What a pod's look around takes for an answer, and what for none."""

import errno
import select
import socket
import ssl
import threading

import pytest

from lockgate.contract import podchannel as pod
from lockgate.job.pod import linklocal
from lockgate.job.pod.looks import Looks, kubelet_refuses
from lockgate.runner.sandbox.network.certificate import stage_certificate

CLOSED = "127.0.0.1:1"


@pytest.fixture
def alone(monkeypatch):
    """No other interface: this machine's own are no pod's."""
    monkeypatch.setattr(linklocal, "ADDRESSES", "/nonexistent")


def looked(**places):
    words = {"canary": CLOSED, "api_server": CLOSED, "metadata": CLOSED} | places
    told = " ".join(f"{name}={place}" for name, place in words.items())
    return begun(told).checks()


def begun(told="canary=127.0.0.1:1", **more):
    given = {pod.UNREACHABLE_VARIABLE: told, pod.NODE_VARIABLE: "127.0.0.1", pod.LOOK_VARIABLE: "50"}
    return Looks(given | more)


def test_what_answers_was_reached_and_what_refuses_was_not(alone):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found = looked(canary=f"127.0.0.1:{listener.getsockname()[1]}")
    assert found == dict.fromkeys(pod.CHECKS, True) | {"canary": False}


def test_one_that_says_nothing_within_the_time_was_not_reached(alone):
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        place = full.getsockname()
        with socket.create_connection(place):  # the kernel takes no more
            found = looked(canary=f"127.0.0.1:{place[1]}")
    assert found["canary"] is True


def test_one_that_answers_after_its_time_was_reached_all_the_same(alone):
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        place = full.getsockname()
        with socket.create_connection(place):
            looks = begun(f"canary=127.0.0.1:{place[1]}")
            assert looks.checks()["canary"] is True
            assert looks.reached() == ""
            full.accept()[0].close()
        (number,) = looks.numbers()
        poller = select.poll()
        poller.register(number, select.POLLOUT)
        assert poller.poll(60_000), "the kernel asks again after a second"
        assert looks.reached() == "canary"


def test_a_name_of_several_places_passes_where_none_of_them_answers(alone):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        place = f"127.0.0.1:{listener.getsockname()[1]}"
        for told in (f"metadata={CLOSED} metadata={place}", f"metadata={place} metadata={CLOSED}"):
            assert begun(told).checks()["metadata"] is False
    assert begun(f"metadata={CLOSED} metadata={CLOSED}").checks()["metadata"] is True


def test_a_kubelets_port_for_everybody_is_reached_by_a_connection_alone(alone, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setattr(pod, "KUBELET_READ_ONLY_PORT", listener.getsockname()[1])
        found = begun().checks()
    assert (found["kubelet_read_only"], found["kubelet"]) == (False, True)


def test_a_kubelet_is_looked_at_by_each_address_of_its_node(alone, monkeypatch):
    with socket.create_server(("127.0.0.2", 0)) as listener:
        monkeypatch.setattr(pod, "KUBELET_READ_ONLY_PORT", listener.getsockname()[1])
        found = begun(**{pod.NODE_VARIABLE: "127.0.0.1,127.0.0.2"}).checks()
        assert found["kubelet_read_only"] is False
        assert begun(**{pod.NODE_VARIABLE: "127.0.0.1"}).checks()["kubelet_read_only"] is True


def test_the_api_server_is_looked_at_where_the_cluster_tells_its_pods_that_it_is_as_well(alone):
    told = f"api_server={CLOSED}"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        service = dict(zip(pod.SERVICE_VARIABLES, ("127.0.0.1", str(listener.getsockname()[1])), strict=True))
        assert begun(told, **service).checks()["api_server"] is False
    assert begun(told).checks()["api_server"] is True


@pytest.mark.parametrize("place", ["", "no-port", "name.example:80", "127.0.0.1:port", "127.0.0.1:99999"])
def test_a_place_that_cannot_be_looked_at_does_not_pass(alone, place):
    assert looked(api_server=place)["api_server"] is False


def test_a_place_that_is_not_named_does_not_pass(alone):
    assert Looks({pod.LOOK_VARIABLE: "1"}).checks() == dict.fromkeys(pod.CHECKS, False) | {"link_local": True}


def test_a_look_for_which_there_was_no_socket_left_does_not_pass(alone, monkeypatch):
    def none_left(*_):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("lockgate.job.pod.looks.socket.socket", none_left)
    assert looked()["canary"] is False


@pytest.mark.parametrize(
    ("answer", "refuses"),
    [
        (b"HTTP/1.1 401 Unauthorized\r\n\r\nUnauthorized", True),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", True),
        (b'HTTP/1.1 200 OK\r\n\r\n{"items":[]}', False),
        (b"HTTP/1.1 500 no\r\n\r\n", False),
        (b"", False),
    ],
)
def test_a_kubelet_must_turn_away_who_asks(tmp_path, answer, refuses):
    (tmp_path / "pem").write_bytes(stage_certificate().pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pem")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def kubelet():
            with context.wrap_socket(listener.accept()[0], server_side=True) as asked:
                assert asked.recv(1000).startswith(b"GET /pods HTTP/1.1\r\n")
                asked.sendall(answer)

        thread = threading.Thread(target=kubelet)
        thread.start()
        assert kubelet_refuses(f"127.0.0.1:{listener.getsockname()[1]}") is refuses
        thread.join()


def interfaces(tmp_path, monkeypatch, addresses, neighbours):
    (tmp_path / "addresses").write_text(addresses)
    (tmp_path / "neighbours").write_text("IP address HW type Flags HW address Mask Device\n" + neighbours)
    monkeypatch.setattr(linklocal, "ADDRESSES", str(tmp_path / "addresses"))
    monkeypatch.setattr(linklocal, "NEIGHBOURS", str(tmp_path / "neighbours"))
    return linklocal.hosts()


ETH0 = "fe800000000000000000000000000001 02 40 20 80     eth0\n"
LO = "00000000000000000000000000000001 01 80 10 80       lo\n"
GATEWAY = "10.244.0.1 0x1 0x2 0a:58:0a:f4:00:01 * eth0\n"


def test_the_nodes_end_of_a_cable_is_found_by_its_hardware_address(tmp_path, monkeypatch):
    assert interfaces(tmp_path, monkeypatch, LO + ETH0, GATEWAY) == ["fe80::858:aff:fef4:1%eth0"]


def test_where_nobody_speaks_ipv6_there_is_nothing_to_look_at(tmp_path, monkeypatch):
    assert interfaces(tmp_path, monkeypatch, LO, GATEWAY) == []


def test_a_neighbour_that_is_not_known_is_no_pass(tmp_path, monkeypatch, alone):
    assert interfaces(tmp_path, monkeypatch, LO + ETH0, "") is None
    assert looked()["link_local"] is False


TRIED_OUT = ETH0.replace("80     eth0", "c0     eth0")


@pytest.fixture
def cable(tmp_path, monkeypatch):
    """Lets the kernel say that it still tries out this pod's address, and then that it has. The node's end is this machine, which refuses, and so answers."""
    interfaces(tmp_path, monkeypatch, TRIED_OUT, GATEWAY)
    monkeypatch.setattr(linklocal, "hosts", lambda: ["127.0.0.1"])
    return lambda: interfaces(tmp_path, monkeypatch, ETH0, GATEWAY)


def test_along_the_cable_is_looked_as_soon_as_the_pod_can_send_there(cable):
    looks = begun()
    assert looks.checks()["link_local"] is True, "nothing can be sent that way yet"
    assert (looks.settled, looks.reached()) == (False, "")
    cable()
    assert (looks.reached(), looks.settled) == ("link_local", True)


def test_a_whole_look_waits_for_that(cable):
    threading.Timer(0.2, cable).start()
    assert begun(**{pod.LOOK_WHOLE_VARIABLE: "1"}).checks()["link_local"] is False


def test_an_address_that_is_tried_out_for_ever_is_looked_by_in_the_end(cable, monkeypatch):
    monkeypatch.setattr("lockgate.job.pod.looks.SETTLE_SECONDS", 0.0)
    assert begun().checks()["link_local"] is False
