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


async def held(bench: Bench, attempt: str) -> None:
    assert await outcomes(bench, (attempt,)) == {attempt: ""}


async def test_no_door_leads_out(bench: Bench) -> None:
    await held(bench, "no_door_leads_out")


async def test_no_privilege_is_gained(bench: Bench) -> None:
    await held(bench, "gains_no_privilege")


async def test_nothing_is_inherited_but_the_channel(bench: Bench) -> None:
    await held(bench, "inherits_nothing_but_its_channel")
    await held(bench, "knows_only_descriptors_of_its_own")


async def test_a_shared_path_keeps_no_trap(bench: Bench) -> None:
    await held(bench, "a_shared_path_keeps_no_trap")


async def test_a_crash_leaves_no_core(bench: Bench) -> None:
    await held(bench, "a_crash_leaves_no_core")


async def test_empty_files_are_counted(place: Path, root_of_jobs: JobRoot) -> None:
    """Without a control group, which would count the memory they take."""
    provider = BubblewrapSandbox(BubblewrapSettings(place, cgroups=False))
    await held(Bench(provider, root_of_jobs, place), "empty_files_are_counted_too")
    await provider.close()


async def test_what_resists_its_end_is_gone(bench: Bench) -> None:
    await held(bench, "what_resists_its_end_is_gone")


async def test_without_egress_there_is_no_way_out(bench: Bench) -> None:
    await held(bench, "without_egress_there_is_no_way_out")


async def test_with_egress_the_proxy_is_the_only_way_and_ends_with_its_sandbox(bench: Bench) -> None:
    await held(bench, "with_egress_the_proxy_is_the_only_way")
    await held(bench, "the_proxy_is_gone_with_its_sandbox")
