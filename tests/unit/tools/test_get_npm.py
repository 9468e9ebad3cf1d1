"""`tools/get` for npm tools: hashes and no addresses in the lock, no scripts, the locked Node first. npm itself is stood in for."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
HASHED = {"version": "1.0.0", "integrity": "sha512-" + "A" * 86 + "=="}
# Does what `npm ci` would: puts the programs of the locked packages where they belong, and keeps the words it was called with.
NPM = """#!/bin/sh
echo "$@" > {log}
test -f package-lock.json || exit 9
mkdir -p node_modules/.bin
printf '#!/usr/bin/env node\\n' > node_modules/.bin/hello
printf '#!/bin/sh\\necho "the locked node runs $(basename "$1") with $2"\\n' > node_modules/.bin/node
chmod +x node_modules/.bin/*
"""


@pytest.fixture
def shed(tmp_path):
    """A folder of definitions with one npm tool, `hello`, a cache of its own and an npm that installs nothing from afar."""
    home = tmp_path / "shed"
    (home / "hello").mkdir(parents=True)
    (home / "hello.toml").write_text(
        'kind = "npm"\nversion = "1.0.0"\npackage = "hello"\nbinary = "greet"\nsources = ["hello"]\n'
    )
    (home / "hello" / "package.json").write_text('{"dependencies": {"hello": "1.0.0"}}')
    lock(home, {"": {}, "node_modules/hello": HASHED})
    (tmp_path / "bin").mkdir()
    npm = tmp_path / "bin" / "npm"
    npm.write_text(NPM.format(log=tmp_path / "npm.log"))
    npm.chmod(0o755)
    return home


def lock(home, packages):
    (home / "hello" / "package-lock.json").write_text(json.dumps({"lockfileVersion": 3, "packages": packages}))


def get(home):
    above = home.parent
    env = {**os.environ, "LOCKGATE_TOOLS": str(home), "LOCKGATE_CACHE": str(above / "cache")}
    env["PATH"] = f"{above / 'bin'}:{env['PATH']}"
    argv = [sys.executable, str(ROOT / "tools" / "get"), "hello"]
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=False)


def test_installs_the_lock_without_scripts_and_starts_the_program_with_the_locked_node(shed):
    done = get(shed)
    assert done.returncode == 0, done.stderr
    words = (shed.parent / "npm.log").read_text().split()
    assert words[0] == "ci" and "--ignore-scripts" in words
    program = subprocess.run([done.stdout.strip(), "a b"], capture_output=True, text=True, check=True)
    assert program.stdout == "the locked node runs hello with a b\n"


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"version": "1.0.0"}, "no sha512 integrity hash"),
        ({"version": "1.0.0", "integrity": "sha1-AAAA"}, "no sha512 integrity hash"),
        ({**HASHED, "resolved": "http://index.test/hello.tgz"}, "names an address"),
    ],
)
def test_a_lock_without_a_hash_or_with_an_address_is_refused_before_anything_is_fetched(shed, entry, words):
    lock(shed, {"": {}, "node_modules/hello": entry})
    done = get(shed)
    assert done.returncode == 1 and words in done.stderr and "node_modules/hello" in done.stderr
    assert not (shed.parent / "npm.log").exists()


def test_a_program_that_the_packages_do_not_hold_is_said(shed):
    text = (shed / "hello.toml").read_text().replace('package = "hello"', 'package = "goodbye"')
    (shed / "hello.toml").write_text(text)
    done = get(shed)
    assert done.returncode == 1 and "no program named goodbye" in done.stderr


def test_another_lock_is_another_build(shed):
    first = get(shed).stdout
    lock(shed, {"": {}, "node_modules/hello": {**HASHED, "version": "1.0.1"}})
    assert get(shed).stdout not in {first, ""}
