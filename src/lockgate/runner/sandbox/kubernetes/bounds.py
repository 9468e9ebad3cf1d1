"""Whether a cluster holds this runner to deploy/kubernetes/admission.yaml: what must be refused is tried, server-side and dry; nothing is ever made.

RBAC knows no names: without these policies a runner's right to make a namespace is the right to make any, and what is in a namespace of an attempt is
everybody's who may edit the cluster. A policy that is there and does not match this runner's identity is as good as none, so the policies are
not read: what they do is looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from lockgate.contract.shown import flat
from lockgate.runner.sandbox.kubernetes import objects
from lockgate.runner.sandbox.kubernetes.api import Api, ApiRefused, ApiUnavailable
from lockgate.runner.sandbox.kubernetes.marks import ANNOTATION
from lockgate.runner.sandbox.port import SandboxUnavailable

GROUP: Final = "lockgate:runners"
ENFORCE: Final = "pod-security.kubernetes.io/enforce"
_NAMESPACES: Final = "/api/v1/namespaces"
_FORBIDDEN: Final = 403
_MANIFEST: Final = "apply deploy/kubernetes/admission.yaml"


async def check_names(api: Api, user: str, draw: str) -> None:
    """A runner of this name is let make nothing but a namespace of an attempt, closed and its own. ``draw``: 32 random hex characters. Raises SandboxUnavailable."""
    fix = (
        f"{_MANIFEST}, and see that it holds for this runner: {user} must be an account of the namespace lockgate, "
        f"or its certificate must have the group (O=) {GROUP}"
    )
    tried = forbidden(user, draw)
    await asyncio.gather(*(_refused(api, _NAMESPACES, each, what, fix) for what, each in tried.items()))


async def check_inside(api: Api, namespace: str) -> None:
    """What is in this namespace of an attempt is held by the policy `lockgate-runs`: it refuses even its maker a secret that would be given a token.

    Raises SandboxUnavailable.
    """
    minting = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "probe", "annotations": {"kubernetes.io/service-account.name": objects.ACCOUNT}},
        "type": "kubernetes.io/service-account-token",
    }
    what = (
        "a secret with a token, and so whatever else deploy/kubernetes/admission.yaml forbids in namespaces of attempts"
    )
    await _refused(api, f"{_NAMESPACES}/{namespace}/secrets", minting, what, _MANIFEST)


def forbidden(user: str, draw: str) -> dict[str, Mapping[str, Any]]:
    """Namespaces that no runner may make, by what they are: a plain one, and those of an attempt that are but for one thing as they must be."""
    ours = objects.namespace_name(draw)
    return {
        "a namespace of any name": {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": f"lockgate-probe-{draw}"},
        },
        "a namespace of an attempt without its label": _namespace(ours, user, {objects.RUN_LABEL: "false"}),
        "a namespace of an attempt that names another as its maker": _namespace(ours, f"{user}-other"),
        "a namespace of an attempt that is not held to `restricted`": _namespace(ours, user, {ENFORCE: "privileged"}),
        "a namespace of an attempt with labels of others": _namespace(ours, user, {"example.com/ignore": "true"}),
    }


def _namespace(name: str, user: str, labels: Mapping[str, str] | None = None) -> Mapping[str, Any]:
    document = objects.namespace(name, "probe", user, {ANNOTATION: "a probe"})
    document["metadata"]["labels"] |= labels or {}
    return document


async def _refused(api: Api, path: str, document: Mapping[str, Any], what: str, fix: str) -> None:
    """Only *forbidden* is a refusal: anything else says nothing of what is let through."""
    try:
        await api.would_create(path, document)
    except ApiRefused as refused:
        if refused.status == _FORBIDDEN:
            return
        raise SandboxUnavailable(
            f"the cluster does not say whether it lets this runner make {what}: {flat(str(refused), limit=300)}",
            "see the message",
        ) from None
    except ApiUnavailable as error:
        raise SandboxUnavailable(
            f"the API server does not answer ({flat(str(error), limit=300)})",
            "see that it runs and can be reached from here",
        ) from None
    raise SandboxUnavailable(f"the cluster lets this runner make {what}: nothing but RBAC holds it", fix)
