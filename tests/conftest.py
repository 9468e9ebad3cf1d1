"""Fixtures for every test; they must not hide a missing tool by skipping."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Machines are noisy: how long an example takes says nothing about the code.
settings.register_profile("lockgate", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("lockgate")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The work tree under test (in a guard's run: the copy)."""
    return ROOT


@pytest.fixture(scope="session")
def opa() -> Path:
    """The pinned opa binary: LOCKGATE_OPA, else built or found by `tools/get opa`; exported as LOCKGATE_OPA to child processes.

    A test that uses it carries the marker `opa`.
    """
    given = os.environ.get("LOCKGATE_OPA")
    if not given:
        argv: list[str | Path] = [sys.executable, ROOT / "tools" / "get", "opa"]
        given = subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]
        os.environ["LOCKGATE_OPA"] = given
    path = Path(given)
    assert os.access(path, os.X_OK), f"LOCKGATE_OPA={given} is not a program"
    return path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that takes the `opa` fixture without the marker would build Go code inside `make check`."""
    for item in items:
        if "opa" in getattr(item, "fixturenames", ()) and item.get_closest_marker("opa") is None:
            raise pytest.UsageError(f"{item.nodeid} uses the fixture `opa`: mark it with @pytest.mark.opa")
