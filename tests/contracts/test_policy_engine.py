"""The PolicyEngine contract, run against the embedded engine with the default library."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lockgate.policy.bundle import load_library
from lockgate.policy.embedded import EmbeddedEngine
from lockgate.policy.port import PolicyEngine
from lockgate.testing.policy_engine import PolicyEngineContract

DATA = """
version: 1
roles: {deployer: {}}
bindings: [{subject: {issuer: "https://issuer.test", id: agent-1}, roles: [deployer]}]
regions: {default: [eu]}
approvals: {approvers: [deployer], standard: {count: 1, groups: [], expires_in_seconds: 60}}
"""


class TestEmbeddedEngine(PolicyEngineContract):
    @pytest.fixture
    async def engine(self, tmp_path: Path) -> AsyncIterator[PolicyEngine]:
        (tmp_path / "data.yaml").write_text(DATA)
        engine = EmbeddedEngine(load_library(tmp_path / "data.yaml"))
        assert isinstance(engine, PolicyEngine)
        yield engine
        await engine.close()
