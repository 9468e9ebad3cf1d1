"""`lockgate demo --keep` as anybody runs it: every expectation holds, what it prints can be tried, and nothing is left behind."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from lockgate.cli.bootstrap.layout import FALLBACK_SANDBOXES
from lockgate.cli.demo.scenes import SCENES

PROGRAM = (sys.executable, "-m", "lockgate.cli")
SAID = (
    "the target now says",
    "held until a human approves it",
    "four_eyes",
    "remove_motd on motd-production is denied",
    "the approval was for another plan: inputs_sha256",
    "the hand's edit still stands",
    "already started",
    "a grant is used once",
    "complete up to entry",
)


@pytest.mark.slow
def test_the_demo_holds_all_its_expectations_is_kept_to_try_and_throws_everything_away() -> None:
    before = elsewhere()
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        argv = [*PROGRAM, "demo", "--keep", "--json"]
        with subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment(place)
        ) as process:
            try:
                assert process.stdout is not None
                line = process.stdout.readline()
                assert line, "it ended without its document"
                document = json.loads(line)
                servers = below(process.pid)
                listed = try_one(document["try"], "operation list", place)
            finally:
                process.send_signal(signal.SIGINT)
                process.wait(timeout=300)
        assert process.returncode == 0
        assert list(Path(place).iterdir()) == [], "the home is gone with its keys, sandboxes and targets"
    assert {operation["target"] for operation in listed["operations"]} >= {"motd-staging", "motd-production"}
    assert len(servers) >= 2 and not [pid for pid in servers if Path(f"/proc/{pid}").exists()]
    assert elsewhere() <= before
    check_told(document)


def check_told(document: dict[str, object]) -> None:
    scenes = document["scenes"]
    assert isinstance(scenes, list)
    bad = [check["what"] for scene in scenes for check in scene["checks"] if not check["held"]]
    assert (document["ok"], bad) == (True, [])
    assert [scene["title"] for scene in scenes] == [title for title, _ in SCENES]
    said = "\n".join(check["what"] for scene in scenes for check in scene["checks"])
    assert [line for line in SAID if line not in said] == []


def try_one(tries: list[str], command: str, place: str) -> dict[str, list[dict[str, str]]]:
    """Run the printed line of a command as a person would type it, with --json."""
    (line,) = [line for line in tries if line.startswith(f"lockgate {command}")]
    _, *words = shlex.split(line)
    ran = subprocess.run(
        [*PROGRAM, *words, "--json"], capture_output=True, text=True, env=environment(place), check=False, timeout=300
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found: dict[str, list[dict[str, str]]] = json.loads(ran.stdout)
    return found


def environment(place: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("LOCKGATE_")} | {"TMPDIR": place}


def elsewhere() -> set[Path]:
    """Target directories where a home's sandboxes lie that are not below it; the demo's home needs none."""
    return set(FALLBACK_SANDBOXES.glob("*-targets"))


def below(pid: int) -> set[int]:
    """Every process that stems from `pid`."""
    found = {int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}
    return found.union(*(below(child) for child in found))
