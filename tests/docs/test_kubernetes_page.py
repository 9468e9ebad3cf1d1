"""The page about a runner's cluster, done as written on a real one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from tests.cluster.running import Cluster
from tests.docs.pages import ROOT, TOOL_PAGES, read_page
from tests.docs.reader import Reader
from tests.docs.test_pages import follow


@pytest.mark.kubernetes
@pytest.mark.slow
def test_a_runner_gets_its_cluster_as_its_page_says(
    readers: Callable[[], AbstractContextManager[Reader]], cluster: Cluster, tmp_path: Path
) -> None:
    (path,) = (path for path in TOOL_PAGES if path.name == "give-a-runner-a-cluster.md")
    kubectl = tmp_path / "kubectl"
    # What stands later counts: a kubeconfig that the page names wins over the administrator's.
    kubectl.write_text(f'#!/bin/sh\nexec {cluster.kubernetes} kubectl --kubeconfig={cluster.kubeconfig} "$@"\n')
    kubectl.chmod(0o755)
    with readers() as reader:
        reader.programs = (tmp_path,)
        (reader.home / "deploy").symlink_to(ROOT / "deploy")
        follow(read_page(path).to_run, reader)
