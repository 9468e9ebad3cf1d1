"""The locks: whole, hashed, without an address, and holding the build backend."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
CLIENTS = sorted((ROOT / "tools" / "clients").glob("*.in"))
LOCKS = [ROOT / "requirements" / f"{level}.txt" for level in ("run", "dev", "uv")]
LOCKS += [asked.with_suffix(".txt") for asked in CLIENTS]
each_lock = pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)


def pins(text):
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", text, flags=re.MULTILINE))


def read(root, level):
    return (root / "requirements" / f"{level}.txt").read_text()


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


@each_lock
def test_every_requirement_is_pinned_with_hashes(lock):
    blocks = re.split(r"\n(?=\S)", lock.read_text().strip())
    assert blocks
    for block in blocks:
        assert re.match(r"[A-Za-z0-9._-]+==\S+", block), block
        assert "--hash=sha256:" in block, block


@each_lock
def test_no_lock_names_an_index(lock):
    assert not re.search(r"index|find-links|://", lock.read_text())


@pytest.mark.parametrize("asked", CLIENTS, ids=lambda asked: asked.name)
def test_a_clients_lock_holds_what_is_asked_for_and_its_tool_names_that_version(asked):
    wanted = pins(re.sub(r"\[[^]]*\]", "", asked.read_text()))
    assert wanted.items() <= pins(asked.with_suffix(".txt").read_text()).items()
    tool = tomllib.loads((ROOT / "tools" / f"client-{asked.stem}.toml").read_text())
    assert wanted[tool["package"]] == tool["version"]


def test_the_runtime_is_a_part_of_the_development_lock_at_the_same_versions(root):
    assert pins(read(root, "run")).items() <= pins(read(root, "dev")).items()


def test_the_locks_hold_what_the_project_asks_for_and_its_build_backend(root):
    project = tomllib.loads((root / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    asked = [
        *project["project"]["dependencies"],
        *extras["ansible"],
        *extras["build"],
        *project["build-system"]["requires"],
    ]
    names = {normal(re.split(r"[<>=!~;\[ ]", one)[0]) for one in asked}
    assert names <= {normal(name) for name in pins(read(root, "run"))}
    tests = {normal(re.split(r"[<>=!~;\[ ]", one)[0]) for one in extras["dev"]} - {"lockgate"}
    assert tests <= {normal(name) for name in pins(read(root, "dev"))}
