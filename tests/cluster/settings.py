"""The configuration files of the cluster's programs; pure functions of the place and of what the machine can do."""

from __future__ import annotations

import json
from typing import Any

from tests.cluster.place import Place

PAUSE_IMAGE = "lockgate.test/pause:1"
NETWORK = "podnet"
CONTAINERD = """\
version = 2
root = "{home}/containerd/root"
state = "{home}/containerd/state"
disabled_plugins = [
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp",
  "io.containerd.internal.v1.tracing",
]
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  # The default profile is loaded into the kernel and outlives the cluster.
  disable_apparmor = true
  tolerate_missing_hugetlb_controller = true
  disable_hugetlb_controller = true
  # Without CAP_SYS_RESOURCE no process may lower its score, and runc dies of trying.
  restrict_oom_score_adj = {restrict}
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{home}/cni/bin"
    conf_dir = "{home}/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
"""


def containerd(place: Place, *, may_lower_oom_score: bool) -> str:
    """containerd's TOML, for 1.6 to 1.7."""
    return CONTAINERD.format(
        home=place.home,
        socket=place.containerd_socket,
        pause=PAUSE_IMAGE,
        restrict=json.dumps(not may_lower_oom_score),
    )


def network(place: Place) -> dict[str, Any]:
    """The pod network: every pod routed by an interface of its own, so that nftables sees all its packets; last, its policies in force."""
    addresses = {
        "type": "host-local",
        "dataDir": f"{place.home}/cni/addresses",
        "ranges": [[{"subnet": place.pod_range}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    return {
        "cniVersion": "1.0.0",
        "name": f"{NETWORK}-{place.number}",
        "plugins": [
            {"type": "ptp", "ipMasq": False, "mtu": 1400, "ipam": addresses},
            {"type": "announce", "socket": str(place.netpol_socket)},
        ],
    }


def kubelet(place: Place, *, may_lower_oom_score: bool) -> dict[str, Any]:
    """The kubelet's configuration; it must neither collect nor evict: images were imported and cannot be pulled again."""
    pki = place.home / "pki"
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{place.cgroup}",
        "failSwapOn": False,
        "containerRuntimeEndpoint": f"unix://{place.containerd_socket}",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True, "cacheTTL": "10s"},
            "x509": {"clientCAFile": str(pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(pki / "kubelet.crt"),
        "tlsPrivateKeyFile": str(pki / "kubelet.key"),
        "address": place.node_ip,
        "healthzPort": 0,
        "podCIDR": place.pod_range,
        "maxPods": 250,
        "oomScoreAdj": -999 if may_lower_oom_score else 0,
        "resolvConf": "",
        "clusterDomain": "cluster.local",
        "imageGCHighThresholdPercent": 100,
        "imageMinimumGCAge": "1000h",
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "imagefs.available": "1%",
            "nodefs.inodesFree": "1%",
        },
        "nodeStatusUpdateFrequency": "5s",
        "nodeLeaseDurationSeconds": 20,
        "syncFrequency": "10s",
        "volumeStatsAggPeriod": "5s",  # whoever fills a volume is evicted within seconds; 0 is a minute
        "seccompDefault": True,
        "serializeImagePulls": False,
        "makeIPTablesUtilChains": False,
        "podLogsDir": f"{place.home}/pods",  # a kubelet removes what it does not know in it, another cluster's logs too
        "containerLogMaxSize": "10Mi",
        "kubeAPIQPS": 100,
        "kubeAPIBurst": 200,
        "volumePluginDir": f"{place.home}/kubelet/volumeplugins",
    }


def audit_policy() -> dict[str, Any]:
    """Who asked for what, for every request; no bodies, so no secrets."""
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata"}],
    }


def netpol_access() -> list[tuple[str, dict[str, Any]]]:
    """What the NetworkPolicy agent may read: pairs of a collection's path and an object to create in it."""
    group = "rbac.authorization.k8s.io"
    reads = ["get", "list", "watch"]
    role = {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "netpol-agent"},
        "rules": [
            {"apiGroups": [""], "resources": ["pods", "namespaces"], "verbs": reads},
            {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": reads},
        ],
    }
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "netpol-agent"},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "netpol-agent"},
        "subjects": [{"kind": "User", "name": "netpol-agent", "apiGroup": group}],
    }
    base = f"/apis/{group}/v1"
    return [(f"{base}/clusterroles", role), (f"{base}/clusterrolebindings", binding)]
