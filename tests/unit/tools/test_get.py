"""`tools/get`, on tools small enough to build in a test."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

GET = Path(__file__).resolve().parents[3] / "tools" / "get"
# Notes each build in builds.log beside the definitions, then waits until `gate` is there (a deadline bounds it).
BUILDER = """
import os, pathlib, select, stat
home = pathlib.Path(os.environ["TOOL_SOURCES"])
with (home / "builds.log").open("a") as log:
    log.write("built\\n")
if (home / "gate").exists():
    with (home / "gate").open() as gate:
        gate.read()
tool = pathlib.Path("fake")
tool.write_text("#!/bin/sh\\necho " + (home / "word.txt").read_text())
tool.chmod(0o755)
"""


@pytest.fixture
def shed(tmp_path):
    """A folder of definitions with one tool, `fake`, and a cache of its own."""
    home = tmp_path / "shed"
    home.mkdir()
    (home / "builder.py").write_text(BUILDER)
    (home / "word.txt").write_text("hello")
    define(home)
    return home


def define(home, **changes):
    fields = {
        "kind": "command",
        "version": "1.0",
        "argv": [sys.executable, str(home / "builder.py")],
        "sources": ["builder.py", "word.txt"],
        "flags": [],
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in {**fields, **changes}.items()]
    (home / "fake.toml").write_text("\n".join(lines) + "\n")


def environment(home):
    return {**os.environ, "LOCKGATE_TOOLS": str(home), "LOCKGATE_CACHE": str(home.parent / "cache")}


def get(home, *words):
    return subprocess.run(
        [sys.executable, GET, *words], env=environment(home), capture_output=True, text=True, check=False
    )


def builds(home):
    log = home / "builds.log"
    return len(log.read_text().splitlines()) if log.exists() else 0


def test_builds_once_and_prints_the_path_of_a_program_that_runs(shed):
    first, second = get(shed, "fake"), get(shed, "fake")
    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout
    assert subprocess.run([first.stdout.strip()], capture_output=True, text=True, check=True).stdout == "hello\n"
    assert builds(shed) == 1


def test_the_binary_lies_in_the_cache_under_its_key_and_says_what_it_was_made_of(shed):
    key = get(shed, "--key", "fake").stdout.strip()
    path = Path(get(shed, "fake").stdout.strip())
    assert path == shed.parent / "cache" / "tools" / "fake" / key / "fake"
    assert json.loads((path.parent / "key.json").read_text())["version"] == "1.0"


@pytest.mark.parametrize(
    "change", [{"version": "1.1"}, {"flags": ["-x"]}, {"sources": ["word.txt"]}, {"binary": "other"}]
)
def test_a_change_of_the_definition_is_another_key(shed, change):
    before = get(shed, "--key", "fake").stdout
    define(shed, **change)
    assert get(shed, "--key", "fake").stdout not in {before, ""}


def test_a_change_of_a_source_file_builds_again_and_keeps_the_old_one(shed):
    old = get(shed, "fake").stdout.strip()
    (shed / "word.txt").write_text("changed")
    new = get(shed, "fake").stdout.strip()
    assert new != old
    assert Path(old).exists()
    assert subprocess.run([new], capture_output=True, text=True, check=True).stdout == "changed\n"


def test_two_at_once_build_once(shed):
    os.mkfifo(shed / "gate")
    argv = [sys.executable, str(GET), "fake"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment(shed)}
    first = subprocess.Popen(argv, **pipes)
    with (shed / "gate").open("w"):  # opens only once the first one is inside its build
        second = subprocess.Popen(argv, **pipes)
        assert second.stderr is not None
        assert "waiting" in second.stderr.readline()
    (one, _), (other, _) = first.communicate(timeout=60), second.communicate(timeout=60)
    assert (first.returncode, second.returncode) == (0, 0)
    assert one == other
    assert builds(shed) == 1


def test_a_killed_build_leaves_nothing_that_looks_built_and_blocks_nobody(shed):
    os.mkfifo(shed / "gate")
    first = subprocess.Popen([sys.executable, GET, "fake"], env=environment(shed), stderr=subprocess.DEVNULL)
    with (shed / "gate").open("w"):
        first.kill()
        first.wait(timeout=60)
    (shed / "gate").unlink()
    again = get(shed, "fake")
    assert again.returncode == 0, again.stderr
    assert Path(again.stdout.strip()).exists()


def test_a_failed_build_leaves_no_home_and_says_so(shed):
    (shed / "builder.py").write_text("raise SystemExit(3)")
    failed = get(shed, "fake")
    assert failed.returncode == 1
    assert "exit code 3" in failed.stderr
    assert failed.stdout == ""
    assert not list((shed.parent / "cache").rglob("*.building"))
    key = get(shed, "--key", "fake").stdout.strip()
    assert not (shed.parent / "cache" / "tools" / "fake" / key).exists()


def test_a_build_that_leaves_no_program_is_a_failure(shed):
    define(shed, binary="absent")
    failed = get(shed, "fake")
    assert failed.returncode == 1
    assert "no program named absent" in failed.stderr


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"kind": "magic"}, "kind 'magic' is unknown"),
        ({"version": ""}, "version must be"),
        ({"argv": [1]}, "argv must be a list of strings"),
        ({"colour": "red"}, "unknown field 'colour'"),
        ({"sources": ["absent"]}, "absent does not exist"),
    ],
)
def test_a_wrong_definition_is_refused_by_field(shed, change, told):
    define(shed, **change)
    refused = get(shed, "fake")
    assert refused.returncode == 1
    assert told in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("name", ["nothing", "../fake", "Fake"])
def test_an_unknown_name_is_refused_and_the_known_ones_are_named(shed, name):
    refused = get(shed, name)
    assert refused.returncode == 1
    assert "known: fake" in refused.stderr


def test_the_list_says_what_is_built(shed):
    assert get(shed, "--list").stdout == "fake\t1.0\tcommand\tnot built\n"
    get(shed, "fake")
    assert get(shed, "--list").stdout == "fake\t1.0\tcommand\tbuilt\n"


def test_a_program_on_path_serves_where_the_definition_says_so_and_nothing_is_built(shed, tmp_path, monkeypatch):
    elsewhere = tmp_path / "bin" / "fake"
    elsewhere.parent.mkdir()
    elsewhere.write_text("#!/bin/sh\n")
    elsewhere.chmod(0o755)
    monkeypatch.setenv("PATH", f"{elsewhere.parent}:{os.environ['PATH']}")
    built = get(shed, "fake")
    assert Path(built.stdout.strip()) != elsewhere, "only where the definition says so"
    with (shed / "fake.toml").open("a") as definition:
        definition.write("or_on_path = true\n")
    assert Path(get(shed, "fake").stdout.strip()) == elsewhere
    elsewhere.unlink()
    assert Path(get(shed, "fake").stdout.strip()).is_relative_to(shed.parent / "cache")


def test_every_tool_of_the_house_is_well_defined():
    listed = subprocess.run([sys.executable, GET, "--list"], capture_output=True, text=True, check=True).stdout
    rows = [line.split("\t") for line in listed.splitlines()]
    assert {"conformance", "opa"} <= {row[0] for row in rows}
    assert all(len(row) == 4 for row in rows)


def test_without_go_the_fix_is_named(shed):
    define(shed, kind="go-install", package="example.test/nothing")
    env = {**environment(shed), "PATH": str(shed)}
    refused = subprocess.run([sys.executable, GET, "fake"], env=env, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "go is not on PATH" in refused.stderr


@pytest.mark.opa  # it needs what building opa needs: Go
def test_a_local_go_module_is_built(shed):
    assert shutil.which("go")
    module = shed / "gofake"
    module.mkdir()
    (module / "go.mod").write_text("module fake\n\ngo 1.21\n")
    (module / "main.go").write_text('package main\n\nimport "os"\n\nfunc main() { os.Stdout.WriteString("go\\n") }\n')
    define(shed, kind="go-build", argv=[], sources=["gofake"], flags=["-trimpath"])
    built = get(shed, "fake")
    assert built.returncode == 0, built.stderr
    assert subprocess.run([built.stdout.strip()], capture_output=True, text=True, check=True).stdout == "go\n"


@pytest.mark.opa
def test_opa_is_the_pinned_version(opa):
    told = subprocess.run([opa, "version"], capture_output=True, text=True, check=True).stdout
    assert "Version: 1.22.2" in told


def test_a_go_module_without_its_pinned_checksum_is_refused(shed):
    define(shed, kind="go-module", package="github.com/open-policy-agent/opa", binary="opa.zip")
    failed = get(shed, "fake")
    assert failed.returncode == 1 and "sum its h1: checksum" in failed.stderr
