"""The command lines of the cluster's programs, in the order they start; pure functions of the place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.cluster.place import Place

STARTS = ("containerd", "etcd", "kube-apiserver", "netpol", "kube-controller-manager", "kube-scheduler", "kubelet")
"""In this order: the agent of NetworkPolicies before anything that could start a pod."""

STOPS = ("kube-scheduler", "kube-controller-manager", "netpol", "kube-apiserver", "etcd", "containerd")
"""After the kubelet and its pods; an API server whose etcd went first hangs in its shutdown."""

HOLDER = "holder"
MOUNTED = ("containerd", "kubelet")
"""What mounts, and so runs in the holder's mount namespace: the machine's own mounts are never touched, and none is left behind."""

PRIVATE = ("/run/containerd", "/var/lib/cni", "/var/lib/kubelet", "/var/log/containers")
"""Directories that containerd, libcni and the kubelet are built to write to; the cluster sees empty ones of its own there."""


@dataclass(frozen=True)
class Programs:
    """The built programs: every part of Kubernetes in one, and what each pod needs in the other."""

    kubernetes: Path
    pod: Path


def holder() -> list[str]:
    """The process that keeps the mount namespace while every other part may die."""
    mounts = " && ".join(f"mount -t tmpfs -o mode=711 tmpfs {path}" for path in PRIVATE)
    return ["unshare", "--mount", "--propagation", "shared", "sh", "-c", f"{mounts} && exec sleep infinity"]


def command(part: str, place: Place, programs: Programs) -> list[str]:
    """The command line of a part, without the namespaces it runs in."""
    if part == "containerd":
        return ["containerd", "--config", f"{place.home}/containerd.toml"]
    return [str(programs.kubernetes), part, *_FLAGS[part](place)]


def _etcd(place: Place) -> list[str]:
    client, peer = (
        f"unix://{place.home}/etcd.sock",
        "unix://peer:0",
    )  # the form it wants: a socket named so in its folder
    return [
        f"--name={place.node}",
        f"--data-dir={place.home}/etcd",
        f"--listen-client-urls={client}",
        "--advertise-client-urls=unix://client:0",  # nobody asks it: the API server is told
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster={place.node}={peer}",
        "--unsafe-no-fsync",  # it outlives the death of any process, and need not outlive the machine
        "--log-level=warn",
    ]


def _apiserver(place: Place) -> list[str]:
    pki = place.home / "pki"
    return [
        f"--etcd-servers=unix://{place.home}/etcd.sock",
        f"--bind-address={place.node_ip}",
        "--secure-port=6443",
        f"--advertise-address={place.node_ip}",
        f"--service-cluster-ip-range={place.service_range}",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        f"--client-ca-file={pki}/ca.crt",
        f"--kubelet-client-certificate={pki}/apiserver-kubelet-client.crt",
        f"--kubelet-client-key={pki}/apiserver-kubelet-client.key",
        f"--kubelet-certificate-authority={pki}/ca.crt",
        "--kubelet-preferred-address-types=InternalIP",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={pki}/sa.pub",
        f"--service-account-signing-key-file={pki}/sa.key",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--anonymous-auth=false",
        "--endpoint-reconciler-type=none",
        f"--audit-policy-file={place.home}/audit-policy.json",
        f"--audit-log-path={place.audit_log}",
        "--audit-log-mode=blocking",  # an event is in the file before its request is over
        "--audit-log-maxsize=200",
        "--audit-log-maxbackup=2",
        "--profiling=false",
        "--v=1",
    ]


def _control(place: Place, part: str) -> list[str]:
    kubeconfig = f"{place.home}/pki/{part}.kubeconfig"
    return [f"--kubeconfig={kubeconfig}", "--leader-elect=false", "--secure-port=0", "--profiling=false", "--v=1"]


def _controllers(place: Place) -> list[str]:
    pki = place.home / "pki"
    return [
        *_control(place, "kube-controller-manager"),
        f"--root-ca-file={pki}/ca.crt",
        f"--service-account-private-key-file={pki}/sa.key",
        "--use-service-account-credentials=true",
        "--controllers=*,-certificatesigningrequest-signing-controller",
        "--node-monitor-grace-period=20s",
        "--concurrent-namespace-syncs=10",
        f"--flex-volume-plugin-dir={place.home}/kubelet/volumeplugins",  # it makes the folder, wherever that is
        "--kube-api-qps=200",
        "--kube-api-burst=400",
    ]


def _scheduler(place: Place) -> list[str]:
    return _control(place, "kube-scheduler")


def _kubelet(place: Place) -> list[str]:
    return [
        f"--config={place.home}/kubelet.json",
        f"--kubeconfig={place.home}/pki/kubelet.kubeconfig",
        f"--hostname-override={place.node}",
        f"--node-ip={place.node_ip}",
        f"--root-dir={place.home}/kubelet",
        f"--cert-dir={place.home}/kubelet/certs",
        "--v=2",
    ]


def _netpol(place: Place) -> list[str]:
    return [
        f"--kubeconfig={place.home}/pki/netpol.kubeconfig",
        f"--socket={place.netpol_socket}",
        f"--pod-cidr={place.pod_range}",
        f"--table={place.table}",
    ]


_FLAGS = {
    "etcd": _etcd,
    "kube-apiserver": _apiserver,
    "kube-controller-manager": _controllers,
    "kube-scheduler": _scheduler,
    "kubelet": _kubelet,
    "netpol": _netpol,
}
