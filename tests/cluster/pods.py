"""Pods for the cluster's own tests, as Pod Security `restricted` takes them; pure."""

from __future__ import annotations

from typing import Any

from lockgate.runner.sandbox.runtime_root import INSIDE

PYTHON = f"{INSIDE}/python/bin/python3"

DENY_ALL: dict[str, Any] = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "deny-all"},
    "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
}


def restricted(name: str, image: str, code: str, **labels: str) -> dict[str, Any]:
    """A pod that runs Python `code` once."""
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "Never",
        "command": [PYTHON, "-I", "-S", "-u", "-c", code],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 1,
            "dnsPolicy": "None",
            "dnsConfig": {"nameservers": ["127.0.0.1"]},
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 1000,
                "runAsGroup": 1000,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
        },
    }


def one_hole(address: str, port: int) -> dict[str, Any]:
    """A policy that lets pods out to one port of one address."""
    to = [{"ipBlock": {"cidr": f"{address}/32"}}]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "one-hole"},
        "spec": {
            "podSelector": {},
            "policyTypes": ["Egress"],
            "egress": [{"to": to, "ports": [{"protocol": "TCP", "port": port}]}],
        },
    }
