"""The layers of ARCHITECTURE §5: that import-linter's contracts hold, that they would notice, and that a job imports next to nothing."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

LINTER = Path(sys.executable).parent / "lint-imports"

# Imports every module of the job and prints what that brought in, by top-level name or, for lockgate, by zone.
PROGRAM = """
import json, sys
before = set(sys.modules)
import lockgate.job, pkgutil, importlib
own = [info.name for info in pkgutil.walk_packages(lockgate.job.__path__, "lockgate.job.")]
for name in own:
    importlib.import_module(name)
new = set(sys.modules) - before
print(json.dumps({
    "modules": own,
    "zones": sorted({name.split(".")[1] for name in new if name.startswith("lockgate.")}),
    "others": sorted({name.split(".")[0] for name in new} - set(sys.stdlib_module_names) - {"lockgate"}),
}))
"""


def lint(root):
    env = {**os.environ, "PYTHONPATH": str(root / "src")}
    return subprocess.run([LINTER, "--no-cache"], cwd=root, env=env, capture_output=True, text=True, check=False)


def test_the_contracts_hold(root):
    linted = lint(root)
    assert linted.returncode == 0, linted.stdout


@pytest.mark.parametrize(
    ("zone", "imported", "contract"),
    [
        ("contract", "lockgate.keys", "Imports point down only"),
        ("gateway", "lockgate.runner", "Imports point down only"),
        ("runner", "lockgate.job", "Imports point down only"),
        ("wire", "lockgate.gateway", "Imports point down only"),
        ("policy", "lockgate.testing", "Imports point down only"),
        ("runner", "lockgate.policy", "Runner and job never import policy"),
        ("job", "lockgate.policy", "Runner and job never import policy"),
        ("contract", "socket", "The contract is pure"),
        ("contract", "time", "The contract is pure"),
        ("job", "pydantic", "The job stays small"),
    ],
)
def test_a_forbidden_import_breaks_its_contract(root, tmp_path, zone, imported, contract):
    shutil.copy(root / "pyproject.toml", tmp_path)
    for package in (root / "src" / "lockgate").iterdir():
        if (package / "__init__.py").is_file():
            empty = tmp_path / "src" / "lockgate" / package.name
            empty.mkdir(parents=True)
            (empty / "__init__.py").touch()
    (tmp_path / "src" / "lockgate" / "__init__.py").touch()
    (tmp_path / "src" / "lockgate" / zone / "sample.py").write_text(f"import {imported}\n")
    linted = lint(tmp_path)
    assert linted.returncode == 1
    broken = linted.stdout.split("Broken contracts")[1]
    assert contract in broken
    assert f"lockgate.{zone}.sample -> {imported}" in broken


def test_a_job_imports_the_standard_library_and_cryptography_only():
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    told = json.loads(run.stdout)
    assert "lockgate.job.__main__" in told["modules"]
    assert set(told["zones"]) <= {"contract", "job", "wire"}
    assert set(told["others"]) <= {
        "cryptography",
        "cffi",
        "_cffi_backend",
        "_openssl",
    }  # the last two are cryptography's own
