"""The provider put together from settings: it asks nothing of a cluster yet, and says what is missing."""

from typing import Any

import pytest

from lockgate.runner.sandbox.kubernetes.opening import Wanted, open_kubernetes
from lockgate.runner.sandbox.kubernetes.settings import KubernetesSettings
from lockgate.runner.sandbox.port import SandboxUnavailable
from lockgate.runner.sandbox.uids import UidRange

WANTED = Wanted("runner-1", "job@sha256:" + "a" * 64, {}, UidRange())


def marks(cluster: str) -> Any:
    raise AssertionError("no key is read before a namespace is marked")


@pytest.mark.parametrize("environment", [{}, {"POD_IP": ""}, {"POD_IP": "runner.example"}])
def test_a_runner_that_pods_cannot_find_says_which_setting_is_missing(environment: dict[str, str]) -> None:
    with pytest.raises(SandboxUnavailable, match="POD_IP") as refused:
        open_kubernetes(KubernetesSettings(), WANTED, marks, environment)
    assert "channel_address" in refused.value.fix


def test_a_runner_that_is_no_pod_needs_a_kubeconfig() -> None:
    with pytest.raises(SandboxUnavailable, match="no pod of a cluster"):
        open_kubernetes(KubernetesSettings(), WANTED, marks, {"POD_IP": "10.0.0.1"})
