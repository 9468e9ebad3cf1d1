"""Policies hold on real packets, from real pods, and a pod reaches its host by no other way."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.cluster.node import Node
from tests.cluster.pods import DENY_ALL, one_hole, restricted
from tests.cluster.running import Cluster, until

from lockgate.runner.image.archive import Image

pytestmark = pytest.mark.kubernetes

CONNECTS = """
import concurrent.futures, json, socket
def connects(address, port):
    try:
        socket.create_connection((address, port), timeout=4).close()
        return "connected"
    except TimeoutError:
        return "nothing came back"
    except OSError as error:
        return str(error)
with concurrent.futures.ThreadPoolExecutor(16) as at_once:
    print(json.dumps(list(at_once.map(lambda one: connects(*one), {asked!r}))))
"""
LISTENS = """
import socket
with socket.create_server(("", 8080)) as server:
    print("listens", flush=True)
    while True:
        server.accept()[0].close()
"""
# The host's end of the pod's interface, by its hardware address: the way that rules for IPv4 alone left open.
LINK_LOCAL = """
import json, socket, time
def words(path):
    return [line.split() for line in open(path)]
deadline = time.monotonic() + 30
while not any(each[5] == "eth0" and not int(each[4], 16) & 0x40 for each in words("/proc/net/if_inet6")):
    assert time.monotonic() < deadline, "no link-local address"
    time.sleep(0.05)
gateway = next(row for row in words("/proc/net/route")[1:] if row[1] == "00000000")[2]
gateway = socket.inet_ntoa(bytes.fromhex(gateway)[::-1])
try:
    socket.create_connection((gateway, 1), timeout=2)
except OSError:
    pass
mac = next(row[3] for row in words("/proc/net/arp")[1:] if row[0] == gateway)
octets = [int(part, 16) for part in mac.split(":")]
octets[0] ^= 2
octets[3:3] = [0xFF, 0xFE]
address = "fe80::" + ":".join("%02x%02x" % tuple(octets[i:i + 2]) for i in range(0, 8, 2))
try:
    socket.create_connection((address + "%eth0", {port}), timeout=4).close()
    print("connected")
except TimeoutError:
    print("nothing came back")
"""


@contextmanager
def listener(address: str, family: socket.AddressFamily = socket.AF_INET) -> Iterator[int]:
    """A port of this machine that connects whoever reaches it: the kernel does, up to its backlog."""
    with socket.create_server((address, 0), family=family, backlog=64) as server:
        yield server.getsockname()[1]


def answers(cluster: Cluster, namespace: str, image: Image, *asked: tuple[str, int]) -> list[str]:
    """What came of connecting to each address, from a fresh pod."""
    pod = restricted("asks", image.pinned, CONNECTS.format(asked=list(asked)))
    phase, told = cluster.run_to_end(namespace, pod)
    assert phase == "Succeeded", told
    found: list[str] = json.loads(told)
    return found


def served(cluster: Cluster, namespace: str, image: Image) -> str:
    """The address of a pod that listens on port 8080."""
    cluster.api.ask("POST", f"/api/v1/namespaces/{namespace}/pods", restricted("serves", image.pinned, LISTENS))
    until(lambda: cluster.pod_phase(namespace, "serves") == "Running")
    until(lambda: "listens" in cluster.logs(namespace, "serves"))
    pod: dict[str, Any] = cluster.api.ask("GET", f"/api/v1/namespaces/{namespace}/pods/serves")
    return str(pod["status"]["podIP"])


def make(cluster: Cluster, namespace: str, policy: dict[str, Any]) -> None:
    cluster.api.ask("POST", f"/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies", policy)


def test_a_pod_without_a_policy_reaches_what_listens(cluster: Cluster, job_image: Image) -> None:
    with cluster.namespace() as namespace, listener(cluster.node_ip) as port:
        server = served(cluster, namespace, job_image)
        assert answers(cluster, namespace, job_image, (cluster.node_ip, port), (server, 8080)) == ["connected"] * 2


def test_a_pod_behind_deny_all_reaches_nothing_but_through_the_one_hole(cluster: Cluster, job_image: Image) -> None:
    host = cluster.node_ip
    with cluster.namespace() as namespace, cluster.namespace() as other:
        server = served(cluster, other, job_image)
        with listener(host) as hole, listener(host) as closed:
            make(cluster, namespace, DENY_ALL)
            make(cluster, namespace, one_hole(host, hole))
            asked = ((host, closed), (host, 6443), (host, 10250), (server, 8080), ("169.254.169.254", 80), (host, hole))
            told = answers(cluster, namespace, job_image, *asked)
    assert told == ["nothing came back"] * 5 + ["connected"]


def test_a_pod_that_lets_nothing_in_is_not_reached(cluster: Cluster, job_image: Image) -> None:
    with cluster.namespace() as namespace, cluster.namespace() as other:
        make(cluster, namespace, DENY_ALL)
        server = served(cluster, namespace, job_image)
        assert answers(cluster, other, job_image, (server, 8080)) == ["nothing came back"]


@pytest.mark.node
def test_the_first_packet_of_a_fresh_pod_passes_its_hole(cluster: Cluster, job_image: Image) -> None:
    # A repeated SYN comes after a second; a pod whose rules are in force before it runs needs none.
    once = CONNECTS.replace("timeout=4", "timeout=0.9")
    with cluster.namespace() as namespace, listener(cluster.node_ip) as port:
        make(cluster, namespace, DENY_ALL)
        make(cluster, namespace, one_hole(cluster.node_ip, port))
        pod = restricted("asks", job_image.pinned, once.format(asked=[(cluster.node_ip, port)]))
        assert cluster.run_to_end(namespace, pod) == ("Succeeded", '["connected"]\n')


@pytest.mark.node
def test_a_pod_does_not_reach_its_host_by_ipv6_link_local(cluster: Cluster, job_image: Image) -> None:
    with cluster.namespace() as namespace, listener("::", socket.AF_INET6) as port:
        pod = restricted("asks", job_image.pinned, LINK_LOCAL.replace("{port}", str(port)))
        assert cluster.run_to_end(namespace, pod) == ("Succeeded", "nothing came back\n")


@pytest.mark.node
def test_no_pod_starts_while_nothing_enforces_its_policies(
    cluster: Cluster, cluster_node: Node, job_image: Image
) -> None:
    with cluster.namespace() as namespace:
        cluster_node.stop("netpol")
        pod = restricted("waits", job_image.pinned, "print('started')")
        cluster.api.ask("POST", f"/api/v1/namespaces/{namespace}/pods", pod)
        until(lambda: "no NetworkPolicy agent" in cluster.kubectl("get", "events", "-n", namespace).stdout)
        assert cluster.pod_phase(namespace, "waits") == "Pending"
        cluster_node.start("netpol")
        until(lambda: cluster.pod_phase(namespace, "waits") == "Succeeded")


@pytest.mark.node
@pytest.mark.parametrize(
    ("announced", "told"),
    [
        ('{"uid": "no-such-pod", "ip": "10.244.0.250"}', "is not programmed after"),
        ('{"uid": "", "ip": "10.244.0.250"}', "not an announcement"),
        ('{"uid": "one", "ip": "fe80::1"}', "not an announcement"),
        ("{", "unexpected EOF"),
    ],
)
def test_the_agent_never_says_ok_to_a_pod_whose_rules_are_not_in_force(
    cluster: Cluster, announced: str, told: str
) -> None:
    assert cluster.place is not None
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(60)
        asking.connect(str(cluster.place.netpol_socket))
        asking.sendall(announced.encode())
        asking.shutdown(socket.SHUT_WR)
        assert told in asking.makefile().read()
