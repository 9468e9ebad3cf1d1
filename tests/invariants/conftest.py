"""Gateways for the invariants: engines once per session (a module takes half a second to compile), everything else fresh."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from tests.invariants.exact import Works
from tests.invariants.gate import Gate
from tests.invariants.region import Region, remove, roots_dir

from lockgate.policy.bundle import LIBRARY, load_library
from lockgate.policy.embedded import EmbeddedEngine
from lockgate.policy.replay import UNHURRIED
from lockgate.runner.sandbox.runtime_root import JobRoot, build_job_root

MakeEngine = Callable[..., EmbeddedEngine]


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeEngine]:
    """The real engine with the library and the data of `lockgate dev`, edited by (old, new) pairs; each edit compiled once."""
    text = LIBRARY.joinpath("data.default.yaml").read_text("utf-8")
    folder = tmp_path_factory.mktemp("policy")
    made: dict[tuple[tuple[str, str], ...], EmbeddedEngine] = {}

    def engine(*edits: tuple[str, str]) -> EmbeddedEngine:
        if edits not in made:
            data = text
            for old, new in edits:
                assert old in data
                data = data.replace(old, new)
            path = folder / f"data-{len(made)}.yaml"
            path.write_text(data)
            made[edits] = EmbeddedEngine(load_library(path), UNHURRIED)
        return made[edits]

    yield engine
    for one in made.values():
        asyncio.run(one.close())


@pytest.fixture
async def gate(tmp_path: Path, library: MakeEngine) -> AsyncIterator[Gate]:
    """A gateway with the default policy: production needs one approver."""
    made = await Gate(tmp_path / "store" / "store.db", library()).open()
    yield made
    await made.close()


@pytest.fixture
async def strict(tmp_path: Path, library: MakeEngine) -> AsyncIterator[Gate]:
    """A gateway whose production needs two approvers."""
    engine = library(("standard: {count: 1,", "standard: {count: 2,"))
    made = await Gate(tmp_path / "strict" / "store.db", engine).open()
    yield made
    await made.close()


@pytest.fixture(scope="session")
def job_root() -> JobRoot:
    """What sandboxes run, built once and kept by its content."""
    return build_job_root(roots_dir())


@pytest.fixture
async def region(gate: Gate, job_root: JobRoot) -> AsyncIterator[Region]:
    """A real runner with real sandboxes beside the gate."""
    home = Path(tempfile.mkdtemp(prefix="lockgate-invariants-"))
    home.chmod(0o711)
    made = await Region(gate, home, job_root).open()
    yield made
    await made.close()
    remove(home)


@pytest.fixture
async def works(gate: Gate, tmp_path: Path) -> AsyncIterator[Works]:
    """A real runner with a target of exact fidelity whose stages are played."""
    made = await Works(gate, tmp_path).open()
    yield made
    await made.close()
