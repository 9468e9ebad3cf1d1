"""The PolicyEngine contract, run against both engines with the default library."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.invariants.keepers import Time
from tests.opaservers import Opa, answering, opa_server

from lockgate.policy.bundle import Release, load_library
from lockgate.policy.embedded import EmbeddedEngine
from lockgate.policy.freshness import Freshness
from lockgate.policy.inforce import PolicyInForce
from lockgate.policy.opaserver.endpoint import Dialer
from lockgate.policy.opaserver.engine import OpaServer, ServerSettings
from lockgate.policy.port import PolicyEngine
from lockgate.policy.replay import UNHURRIED
from lockgate.testing.policy_engine import PolicyEngineContract

DATA = """
version: 1
roles: {deployer: {}}
bindings: [{subject: {issuer: "https://issuer.test", id: agent-1}, roles: [deployer]}]
regions: {default: [eu]}
approvals: {approvers: [deployer], standard: {count: 1, groups: [], expires_in_seconds: 60}}
"""

PATIENT = ServerSettings(deadline=30)
"""A loaded machine is slow, not wrong."""


class TestEmbeddedEngine(PolicyEngineContract):
    @pytest.fixture
    async def engine(self, tmp_path: Path) -> AsyncIterator[PolicyEngine]:
        (tmp_path / "data.yaml").write_text(DATA)
        engine = EmbeddedEngine(load_library(tmp_path / "data.yaml"), UNHURRIED)
        assert isinstance(engine, PolicyEngine)
        yield engine
        await engine.close()


class TestPolicyInForce(PolicyEngineContract):
    """What the gateway asks is held to the same contract as the engine in it."""

    @pytest.fixture
    async def engine(self, tmp_path: Path) -> AsyncIterator[PolicyEngine]:
        (tmp_path / "data.yaml").write_text(DATA)
        bundle = replace(load_library(tmp_path / "data.yaml"), release=Release(1, 1_795_000_000, 60))
        time = Time()
        policy = PolicyInForce(time.clocks)
        policy.swap(EmbeddedEngine(bundle, UNHURRIED), Freshness.of(bundle.release, None, time.clocks))
        assert isinstance(policy, PolicyEngine)
        yield policy
        await policy.close()


@pytest.mark.opa
class TestOpaServer(PolicyEngineContract):
    @pytest.fixture(scope="class")
    @classmethod
    def server(cls, opa: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opa]:
        folder = tmp_path_factory.mktemp("opa")
        (folder / "data.yaml").write_text(DATA)
        with opa_server(opa, folder, load_library(folder / "data.yaml")) as server:
            yield server

    @pytest.fixture
    async def engine(self, server: Opa) -> AsyncIterator[PolicyEngine]:
        engine = OpaServer(
            load_library(server.folder / "data.yaml"), Dialer(server.endpoint, None, max_body=1 << 20), PATIENT
        )
        assert isinstance(engine, PolicyEngine)
        await answering(server, engine)
        yield engine
        await engine.close()
