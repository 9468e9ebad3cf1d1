"""Fixtures for every test; they must not hide a missing tool by skipping."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.cluster.fixture"]

# Machines are noisy: how long an example takes says nothing about the code.
settings.register_profile("lockgate", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("lockgate")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The work tree under test (in a guard's run: the copy)."""
    return ROOT


NEEDS = {
    "opa": "opa",
    "opa_cases": "opa",
    "client": "clients",
    "tofu": "tofu",
    "terraform": "tofu",
    "provider_mirror": "tofu",
    "cluster": "kubernetes",
}
"""Fixture → the marker of the tests that take it."""


@pytest.fixture(scope="session")
def opa() -> Path:
    """The pinned opa binary: LOCKGATE_OPA, else built or found by `tools/get opa`; exported as LOCKGATE_OPA to child processes.

    A test that uses it carries the marker `opa`.
    """
    path = tool_path("opa")
    os.environ["LOCKGATE_OPA"] = str(path)
    return path


@pytest.fixture(scope="session")
def opa_cases() -> Path:
    """The zip of OPA's module, with its own conformance cases: LOCKGATE_OPA_CASES, else what `tools/get opa-cases` has. It carries `opa`, too."""
    return tool_path("opa-cases", os.R_OK)


@pytest.fixture(scope="session")
def client() -> Callable[[str], Path]:
    """The program of a pinned client's environment, by its name in `tools/client-NAME.toml`: as `opa`, and LOCKGATE_CLIENT_NAME.

    A test that uses it carries the marker `clients`.
    """
    return lambda name: tool_path(f"client-{name}")


@pytest.fixture(scope="session")
def tofu() -> Path:
    """The pinned OpenTofu binary. A test that uses it carries the marker `tofu`."""
    return tool_path("tofu")


@pytest.fixture(scope="session")
def terraform() -> Path:
    """A Terraform binary: LOCKGATE_TERRAFORM, else the one on PATH, else a built one. A test that uses it carries the marker `tofu`."""
    return tool_path("terraform")


@pytest.fixture(scope="session")
def provider_mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A filesystem_mirror with the providers `local` 2.5.0 and `time` 0.14.0 under both registries' names; a test that uses it carries `tofu`.

    The numbers are ours: a provider binary does not know its own version.
    """
    mirror = tmp_path_factory.mktemp("mirror")
    machine = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    for name, version in (("local", "2.5.0"), ("time", "0.14.0")):
        for host in ("registry.terraform.io", "registry.opentofu.org"):
            place = mirror / host / "hashicorp" / name / version / f"linux_{machine}"
            place.mkdir(parents=True)
            shutil.copy(tool_path(f"provider-{name}"), place / f"terraform-provider-{name}_v{version}")
    return mirror


def tool_path(tool: str, access: int = os.X_OK) -> Path:
    """What the environment names for a tool, else what `tools/get` builds or finds."""
    variable = f"LOCKGATE_{tool.upper().replace('-', '_')}"
    given = os.environ.get(variable)
    if not given:
        argv: list[str | Path] = [sys.executable, ROOT / "tools" / "get", tool]
        given = subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]
    path = Path(given)
    assert os.access(path, access), f"{variable}={given} cannot be used"
    return path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that takes the `opa` fixture without the marker would build Go code inside `make check`; a client or `tofu` likewise."""
    for item in items:
        arguments = item.callspec.params if hasattr(item, "callspec") else {}  # may be called as a fixture is
        for fixture in set(getattr(item, "fixturenames", ())) & NEEDS.keys() - arguments.keys():
            marker = NEEDS[fixture]
            if item.get_closest_marker(marker) is None:
                raise pytest.UsageError(
                    f"{item.nodeid} uses the fixture `{fixture}`: mark it with @pytest.mark.{marker}"
                )
