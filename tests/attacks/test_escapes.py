"""Attempts to leave a sandbox, one by one and as whoever runs the tests; the contract suite makes the same ones in every mode."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from lockgate.runner.sandbox.bubblewrap import BubblewrapSandbox, BubblewrapSettings
from lockgate.runner.sandbox.runtime_root import JobRoot, build_job_root
from lockgate.testing.sandbox import Bench, outcomes


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """Unlike pytest's own, a directory that the sandboxes' uids can reach."""
    made = Path(tempfile.mkdtemp(prefix="escapes-"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def root_of_jobs(place: Path) -> JobRoot:
    return build_job_root(place)


@pytest.fixture
async def bench(place: Path, root_of_jobs: JobRoot) -> AsyncIterator[Bench]:
    provider = BubblewrapSandbox(BubblewrapSettings(place))
    yield Bench(provider, root_of_jobs, place)
    await provider.close()


@pytest.mark.parametrize(
    "attempt",
    [
        "no_door_leads_out",
        "gains_no_privilege",
        "inherits_nothing_but_its_channel",
        "knows_only_descriptors_of_its_own",
        "a_shared_path_keeps_no_trap",
        "a_crash_leaves_no_core",
        "empty_files_are_counted_too",
        "what_resists_its_end_is_gone",
        "without_egress_there_is_no_way_out",
        "with_egress_the_proxy_is_the_only_way",
        "the_proxy_is_gone_with_its_sandbox",
    ],
)
async def test_nobody_gets_out(bench: Bench, attempt: str) -> None:
    assert await outcomes(bench, (attempt,)) == {attempt: ""}
