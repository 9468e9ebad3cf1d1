"""The locks: whole, hashed, without an address, and holding the build backend."""

import re
import tomllib

import pytest

LOCKS = ("run", "dev", "uv")


def pins(text):
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", text, flags=re.MULTILINE))


def read(root, level):
    return (root / "requirements" / f"{level}.txt").read_text()


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("level", LOCKS)
def test_every_requirement_is_pinned_with_hashes(root, level):
    blocks = re.split(r"\n(?=\S)", read(root, level).strip())
    assert blocks
    for block in blocks:
        assert re.match(r"[A-Za-z0-9._-]+==\S+", block), block
        assert "--hash=sha256:" in block, block


@pytest.mark.parametrize("level", LOCKS)
def test_no_lock_names_an_index(root, level):
    assert not re.search(r"index|find-links|://", read(root, level))


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
