"""The pages about a cluster, done as written on a real one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest
from tests.cluster.place import ClusterError
from tests.cluster.running import Cluster
from tests.docs.pages import ROOT, TOOL_PAGES, Block, Page, read_page
from tests.docs.reader import Reader
from tests.docs.shown import Names
from tests.docs.test_pages import follow

from lockgate.runner.image.archive import Image

pytestmark = [pytest.mark.kubernetes, pytest.mark.slow]
CHANGE, AFTER, TOO_LATE = "## 7. The change", "## 8. What stays", "the check was too old"
TRIES = 5
PATIENT = "sandbox: {kubernetes: {start_seconds: 300, teardown_seconds: 300}}"
"""The machine may be busy with other tests, too; what a page says holds all the same."""
ADDRESS, PROGRAM = "10.0.0.5", "/usr/local/bin/tofu"
DIGEST = "sha256:2d165220011e95362e482937f8121beff3745c43fe78176cebab9c0e8d3dd48c"


@pytest.fixture
def reader(readers: Callable[[], AbstractContextManager[Reader]], cluster: Cluster, tmp_path: Path) -> Iterator[Reader]:
    """Somebody with kubectl as an administrator, and a checkout."""
    kubectl = tmp_path / "kubectl"
    # What stands later counts: a kubeconfig that the page names wins over the administrator's.
    kubectl.write_text(f'#!/bin/sh\nexec {cluster.kubernetes} kubectl --kubeconfig={cluster.kubeconfig} "$@"\n')
    kubectl.chmod(0o755)
    with readers() as made:
        made.programs = (tmp_path,)
        (made.home / "deploy").symlink_to(ROOT / "deploy")
        yield made


def page(name: str) -> Page:
    (path,) = (path for path in TOOL_PAGES if path.name == name)
    return read_page(path)


def test_a_runner_gets_its_cluster_as_its_page_says(reader: Reader) -> None:
    follow(page("give-a-runner-a-cluster.md").to_run, reader)


@pytest.mark.tofu
@pytest.mark.node
def test_an_empty_cluster_comes_to_its_first_governed_change_as_its_page_says(
    reader: Reader, cluster: Cluster, tofu: Path, job_image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    if cluster.place is None:
        raise ClusterError("this test gives an image to the node, which is not this machine")
    monkeypatch.setenv("CONTAINERD_ADDRESS", str(cluster.place.containerd_socket))
    reader.programs = (*reader.programs, tofu.parent)
    reader.merge("~/.lockgate/runner.yaml", PATIENT)
    # The page's image is made anew, and its digest must be this one: the same content has the same.
    own = ((DIGEST, job_image.digest), (ADDRESS, cluster.node_ip), (PROGRAM, str(tofu)))

    def mine(block: Block) -> Block:
        text = block.text
        for shown, here in own:
            text = text.replace(shown, here)
        return replace(block, text=text)

    follow(page("give-a-runner-a-cluster.md").to_run, reader)
    change = page("from-an-empty-cluster-to-a-governed-change.md")
    begins, ends = (change.text[: change.text.index(heading)].count("\n") for heading in (CHANGE, AFTER))
    todo = tuple(map(mine, change.to_run))
    follow(tuple(block for block in todo if block.line <= begins), reader)
    for _ in range(TRIES):
        if (names := changed(tuple(block for block in todo if begins < block.line <= ends), reader)) is not None:
            break
    else:
        pytest.fail(f"{TRIES} times its pod was not there within 30 s of its check: this machine is too busy")
    follow(tuple(block for block in todo if block.line > ends), reader, names)


def changed(step: tuple[Block, ...], reader: Reader) -> Names | None:
    """The names of the change once it was made; None where the page says to begin its step again."""
    names = Names()
    try:
        follow(step, reader, names)
    except AssertionError as missed:
        if TOO_LATE in str(missed):
            return None
        raise
    return names
