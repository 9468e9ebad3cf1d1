"""What a cluster says when something goes wrong, in the words of the port: why, and the one thing to do. Pure; an unknown word is shown as it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from lockgate.contract.shown import flat
from lockgate.runner.sandbox.kubernetes.api import ApiRefused, ApiUnavailable
from lockgate.runner.sandbox.kubernetes.objects import CONTAINER
from lockgate.runner.sandbox.port import ExitCause, SandboxUnavailable, SpecRefused

MAX_WORDS: Final = 500
_SIGNALLED: Final = 128
_KILLED: Final = 9
_FORBIDDEN: Final = 403
_NEVER_STARTS: Final = {
    "ErrImageNeverPull": "the node does not have the image; import it, or set sandbox.kubernetes.image_pull: IfNotPresent",
    "ErrImagePull": "see that the node can fetch sandbox.image, by exactly that digest",
    "ImagePullBackOff": "see that the node can fetch sandbox.image, by exactly that digest",
    "InvalidImageName": "correct sandbox.image",
    "CreateContainerConfigError": "see the message; a namespace that somebody else changes is one cause",
    "CreateContainerError": "see the message, and the node's container runtime",
    "RunContainerError": "see the message, and the node's container runtime",
}
_ENDED: Final[dict[str, tuple[ExitCause, str]]] = {
    "DeadlineExceeded": ("wall", "the cluster's own deadline for the pod has passed"),
    "Evicted": ("lost", "the node evicted the pod"),
    "Preempting": ("lost", "a pod of a higher priority took its place"),
    "NodeLost": ("lost", "its node does not answer"),
    "NodeShutdown": ("lost", "its node was shut down"),
    "Terminated": ("lost", "its node was shut down"),
}
_DISK: Final = re.compile(r"ephemeral|emptydir|exceeds the limit", re.IGNORECASE)


def _words(text: object) -> str:
    return flat(str(text), limit=MAX_WORDS)


def not_made(what: str, error: ApiRefused | ApiUnavailable) -> SandboxUnavailable | SpecRefused:
    """Why ``what`` could not be made, as the port says it."""
    if isinstance(error, ApiUnavailable):
        return SandboxUnavailable(
            f"{what}: the API server does not answer ({_words(error)})", "see that it runs and can be reached from here"
        )
    said = _words(error.message)
    if error.status == 422:
        return SpecRefused(f"{what}: the cluster cannot take it: {said}")
    return SandboxUnavailable(f"{what}: {said}", _fix(error))


def _fix(error: ApiRefused) -> str:
    text = error.message.lower()
    if error.status == 401:
        return "give the runner credentials that hold: its kubeconfig, or its service account's token, is not accepted"
    if "NamespaceTerminating" in error.causes or "being terminated" in text or error.status == 404:
        return "find out who deletes Lockgate's namespaces; the attempt is over, ask for it again"
    if error.reason == "AlreadyExists":
        return (
            "the attempt is over, ask for it again: an answer of the API server was lost, or somebody else makes objects"
            " in Lockgate's namespaces, and nobody may read whose this one is"
        )
    if "exceeded quota" in text or ("maximum " in text and "limit" in text):
        return "raise the quota that denies it, or lower max_attempts or the target's limits"
    if "violates podsecurity" in text:
        return (
            "let namespaces labelled lockgate.dev/run be held to the profile `restricted`, and to none that is stricter"
        )
    if "webhook" in text:
        return 'exempt namespaces labelled lockgate.dev/run: "true" from that webhook, or see why it does not answer'
    if "runtimeclass" in text:
        return "make the RuntimeClass, or correct sandbox.runtime_classes"
    if error.status == _FORBIDDEN and error.reason == "Forbidden" and "validatingadmissionpolicy" in text:
        return "see deploy/kubernetes/admission.yaml: the runner did what its policy does not allow it"
    if error.status == _FORBIDDEN:
        return "apply deploy/kubernetes/rbac.yaml to the cluster, with this runner's own identity in it"
    return "see the message"


def never_starts(pod: Mapping[str, Any]) -> SandboxUnavailable | None:
    """Why this pod will not come to run, once that is certain."""
    status = pod.get("status", {})
    if status.get("phase") == "Failed" and not _terminated(status):
        return SandboxUnavailable(
            f"the node refused the pod: {_words(status.get('reason'))}: {_words(status.get('message'))}",
            "see that the nodes have room for it, and that it may run on them",
        )
    for container in status.get("containerStatuses") or ():
        waiting = container.get("state", {}).get("waiting") or {}
        reason = waiting.get("reason")
        if reason in _NEVER_STARTS:
            return SandboxUnavailable(
                f"the pod's container cannot start: {reason}: {_words(waiting.get('message', ''))}",
                _NEVER_STARTS[reason],
            )
    return None


def still_waits_for(pod: Mapping[str, Any] | None) -> SandboxUnavailable:
    """Why a pod did not come to run in the time it was given."""
    if pod is None:
        return SandboxUnavailable("the pod is gone", "find out who deletes pods of Lockgate's namespaces")
    for condition in pod.get("status", {}).get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return SandboxUnavailable(
                f"no node takes the pod: {_words(condition.get('message', ''))}",
                "free a node (`kubectl describe node` shows pressure and taints), or correct sandbox.kubernetes.node_selector",
            )
    return SandboxUnavailable(
        "the pod did not start in time",
        "see `kubectl describe node` and the kubelet: it accepted the pod and does not run it",
    )


@dataclass(frozen=True, slots=True)
class PodEnd:
    """How a pod ended, by the word of its node; ``reason`` for humans."""

    cause: ExitCause
    exit_code: int | None
    signal: int | None
    reason: str


def pod_end(pod: Mapping[str, Any] | None, last: Mapping[str, Any] | None = None) -> PodEnd | None:
    """How it ended; None while it has not. Of a pod that is gone what was ``last`` seen may say who disrupted it; else nobody can."""
    if pod is None:
        return PodEnd("lost", None, None, _deleted(last or {}))
    status = pod.get("status", {})
    terminated = _terminated(status)
    over = status.get("phase") in ("Succeeded", "Failed")
    if not over and (terminated is None or _is_to_be_explained(pod, terminated)):
        return None
    code = terminated.get("exitCode") if terminated else None
    code = code if isinstance(code, int) else None
    number = code - _SIGNALLED if code is not None and code > _SIGNALLED else None
    word, message = str(status.get("reason") or ""), _words(status.get("message") or "")
    if terminated and terminated.get("reason") == "OOMKilled":
        return PodEnd("oom", code, number or _KILLED, "the pod's memory was used up")
    if word in _ENDED:
        cause, why = _ENDED[word]
        if word == "Evicted" and _DISK.search(message):
            cause = "disk"
        return PodEnd(cause, code, number, f"{why}: {message}" if message else why)
    if word:
        return PodEnd("lost", code, number, f"{word}: {message}")
    if pod.get("metadata", {}).get("deletionTimestamp"):  # its processes were told to end: how they did says nothing
        return PodEnd("lost", code, number, _deleted(pod))
    return PodEnd("exit" if number is None else "signal", code, number, "")


def _is_to_be_explained(pod: Mapping[str, Any], terminated: Mapping[str, Any]) -> bool:
    """Whether the node may have more to say of a container's end: why it evicted a pod it says with the pod's last phase, a moment later."""
    if terminated.get("reason") == "OOMKilled" or pod.get("metadata", {}).get("deletionTimestamp"):
        return False
    return terminated.get("exitCode") != 0


def _deleted(pod: Mapping[str, Any]) -> str:
    """Who ended a pod, where that was an eviction (a drain), a taint or a preemption."""
    for condition in pod.get("status", {}).get("conditions") or ():
        if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
            return f"the pod was deleted by somebody else: {_words(condition.get('reason'))}: {_words(condition.get('message'))}"
    return "the pod was deleted by somebody else"


def _terminated(status: Mapping[str, Any]) -> Mapping[str, Any] | None:
    for container in status.get("containerStatuses") or ():
        terminated = container.get("state", {}).get("terminated")
        if terminated:
            found: Mapping[str, Any] = terminated
            return found
    return None


def image_digest(pod: Mapping[str, Any]) -> str | None:
    """``sha256:`` hex of the image that our container runs, as the node reports it; None while it does not say."""
    for container in pod.get("status", {}).get("containerStatuses") or ():
        if container.get("name") != CONTAINER:
            continue
        found = re.search(r"sha256:[0-9a-f]{64}$", str(container.get("imageID") or ""))
        if found is not None:
            return found.group()
    return None


@dataclass(frozen=True, slots=True)
class Begun:
    """A pod that runs, or why it never will."""

    pod: Mapping[str, Any] | None
    why_not: SandboxUnavailable | None = None


def has_begun(pod: Mapping[str, Any] | None) -> Begun | None:
    """The pod once a node runs it and it has an address; or why that never will be."""
    if pod is None:
        return Begun(None, still_waits_for(None))
    status = pod.get("status", {})
    if status.get("podIP") and status.get("hostIP") and image_digest(pod) is not None:
        return Begun(pod)
    never = never_starts(pod)
    return Begun(pod, never) if never is not None else None
