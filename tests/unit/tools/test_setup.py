"""Finding a Python, naming what is missing, and the stamp that makes `make setup` free the second time."""

import os
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader

import pytest


def interpreter(folder, name, answer):
    """A stand-in for a Python on PATH that answers the probe with `answer`."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{answer}\n")
    path.chmod(0o755)


def find(root, tmp_path, path, **extra):
    """Run a copy of tools/find-python, away from the work tree's own environment."""
    (tmp_path / "tools").mkdir(exist_ok=True)
    script = tmp_path / "tools" / "find-python"
    script.write_text((root / "tools" / "find-python").read_text())
    env = {"PATH": f"{path}:/usr/bin:/bin", **extra}
    return subprocess.run(["/bin/sh", script], env=env, capture_output=True, text=True, check=False)


def test_the_newest_python_that_runs_is_chosen(root, tmp_path):
    bins = tmp_path / "bins"
    interpreter(bins, "python3.98", "echo '1 098 004 /new one/python3.98'")
    interpreter(bins, "python3.97", "echo '1 097 011 /old/python3.97'")
    interpreter(bins, "python3.99", "echo 'no such version' >&2; exit 127")
    assert find(root, tmp_path, bins).stdout == "/new one/python3.98\n"


def test_one_that_can_make_environments_is_preferred(root, tmp_path):
    bins = tmp_path / "bins"
    interpreter(bins, "python3.98", "echo '0 098 000 /bare/python3.98'")
    interpreter(bins, "python3.97", "echo '1 097 000 /whole/python3.97'")
    assert find(root, tmp_path, bins).stdout == "/whole/python3.97\n"


def test_the_probe_of_a_real_python_names_it(root, tmp_path):
    assert find(root, tmp_path, tmp_path, LOCKGATE_PYTHON=sys.executable).stdout == f"{sys.executable}\n"


def test_a_wrong_override_is_refused_and_not_replaced_by_a_guess(root, tmp_path):
    refused = find(root, tmp_path, tmp_path, LOCKGATE_PYTHON="/nonexistent/python3")
    assert refused.returncode == 1
    assert "LOCKGATE_PYTHON=/nonexistent/python3" in refused.stderr


def test_without_a_python_the_fix_is_named(root, tmp_path):
    bins = tmp_path / "bins"
    for tool in ("sort", "head", "dirname"):
        interpreter(bins, tool, f'exec /usr/bin/{tool} "$@"')
    script = tmp_path / "find-python"
    script.write_text((root / "tools" / "find-python").read_text())
    none = subprocess.run(["/bin/sh", script], env={"PATH": str(bins)}, capture_output=True, text=True, check=False)
    assert none.returncode == 1
    assert "Python 3.11 or newer" in none.stderr
    assert "apt-get install" in none.stderr


@pytest.fixture
def setup(root, tmp_path, monkeypatch):
    """tools/setup as a module, its work tree moved to an empty folder with a lock and a project."""
    loader = SourceFileLoader("lockgate_setup", str(root / "tools" / "setup"))
    spec = spec_from_loader("lockgate_setup", loader)
    assert spec is not None
    module = module_from_spec(spec)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader.exec_module(module)
    (tmp_path / "requirements").mkdir()
    for level in ("run", "dev"):
        (tmp_path / "requirements" / f"{level}.txt").write_text(f"{level}==1\n")
    (tmp_path / "pyproject.toml").write_text('[build-system]\nrequires = []\n[project]\nname = "x"\n')
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "pyvenv.cfg").write_text("version = 3.11.9\n")
    for program in ("python", "lockgate"):
        (tmp_path / ".venv" / "bin" / program).touch()
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(module, "PYTHON", tmp_path / ".venv" / "bin" / "python")
    return module


def test_a_stamp_that_fits_means_nothing_to_do(setup):
    assert not setup.is_current("run")
    (setup.VENV / ".lockgate-run").write_text(setup.digest("run"))
    assert setup.is_current("run")
    assert not setup.is_current("dev")


def test_the_development_environment_serves_as_the_runtime_one(setup):
    (setup.VENV / ".lockgate-dev").write_text(setup.digest("dev"))
    assert setup.is_current("run")


@pytest.mark.parametrize("file", ["requirements/run.txt", "pyproject.toml", ".venv/pyvenv.cfg"])
def test_a_change_of_what_was_installed_unfits_the_stamp(setup, file):
    (setup.VENV / ".lockgate-run").write_text(setup.digest("run"))
    path = setup.ROOT / file
    path.write_text(path.read_text() + 'version = "2"\n')
    assert not setup.is_current("run")


def test_a_missing_package_is_installed_by_root_with_apt_only(setup, monkeypatch):
    ran = []
    monkeypatch.setattr(setup, "run", lambda *argv, quiet=False: ran.append(argv) or True)
    monkeypatch.setattr(setup.shutil, "which", lambda name: None if name == "bwrap" else f"/bin/{name}")
    monkeypatch.setattr(setup.sys, "platform", "linux")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    setup.provide_packages("run", needs_venv=False)
    assert ran == [("apt-get", "install", "-y", "-q", "--no-install-recommends", "bubblewrap")]


def test_what_only_the_tests_need_is_missing_for_them_alone(setup, monkeypatch):
    monkeypatch.setattr(setup.shutil, "which", lambda name: f"/bin/{name}" if name == "bwrap" else None)
    monkeypatch.setattr(setup.sys, "platform", "linux")
    assert setup.missing_packages("run", needs_venv=False) == []
    assert setup.missing_packages("dev", needs_venv=False) == ["iproute2", "strace"]


def test_a_cluster_needs_its_own_packages_and_a_plugin_counts_where_no_path_leads(setup, monkeypatch, tmp_path):
    monkeypatch.setattr(setup.shutil, "which", lambda name: f"/bin/{name}" if name == "ip" else None)
    monkeypatch.setattr(setup.sys, "platform", "linux")
    monkeypatch.setattr(setup, "PLUGIN_FOLDERS", (str(tmp_path),))
    wanted = {"containerd", "runc", "nftables", "util-linux", "containernetworking-plugins"}
    assert set(setup.missing_packages("cluster", needs_venv=False)) == wanted
    (tmp_path / "ptp").touch()
    assert set(setup.missing_packages("cluster", needs_venv=False)) == wanted - {"containernetworking-plugins"}


def test_an_ordinary_user_is_told_the_one_command(setup, monkeypatch):
    ran = []
    monkeypatch.setattr(setup, "run", lambda *argv, quiet=False: ran.append(argv) or True)
    monkeypatch.setattr(setup.shutil, "which", lambda name: None if name == "bwrap" else f"/bin/{name}")
    monkeypatch.setattr(setup.sys, "platform", "linux")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SystemExit, match="sudo apt-get install -y bubblewrap"):
        setup.provide_packages("run", needs_venv=False)
    assert ran == []


def test_a_python_without_ensurepip_is_told_the_package_that_brings_it(setup, monkeypatch):
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    assert f"python3.{sys.version_info.minor}-venv" in setup.missing_packages("run", needs_venv=True)
    assert not any(name.endswith("-venv") for name in setup.missing_packages("run", needs_venv=False))
