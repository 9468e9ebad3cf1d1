"""`lockgate demo` as anybody runs it: every expectation holds, and nothing is left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from lockgate.cli.demo.scenes import SCENES

PROGRAM = (sys.executable, "-m", "lockgate.cli")


@pytest.mark.slow
def test_the_demo_holds_all_its_expectations_and_throws_everything_away() -> None:
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        env = {name: value for name, value in os.environ.items() if not name.startswith("LOCKGATE_")} | {
            "TMPDIR": place
        }
        ran = subprocess.run(
            [*PROGRAM, "demo", "--json"], capture_output=True, text=True, env=env, check=False, timeout=560
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        document = json.loads(ran.stdout)
        assert not Path(document["home"]).exists()
        assert list(Path(place).iterdir()) == []
    assert document["ok"] is True
    assert [scene["title"] for scene in document["scenes"]] == [title for title, _ in SCENES]
    said = "\n".join(check["what"] for scene in document["scenes"] for check in scene["checks"] if check["held"])
    for line in (
        "the target now says",
        "held until a human approves it",
        "four_eyes",
        "remove_motd on motd-production is denied",
        "the approval was for another plan: inputs_sha256",
        "the hand's edit still stands",
        "already started",
        "a grant is used once",
        "complete up to entry",
    ):
        assert line in said
