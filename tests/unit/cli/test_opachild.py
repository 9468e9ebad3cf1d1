"""What is started beside a server ends with it, also where it is killed: then nobody is left to end it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lockgate.cli.bound import ORPHANED, bound
from lockgate.cli.opachild import bundle_of, socket_of
from lockgate.policy.bundle import load_library
from lockgate.policy.keeping import packed

SECONDS = 60
"""For one thing to happen on a machine that is busy with others."""

# The program itself says who it is: until then its parent would be missed by another check.
STARTS = """
import subprocess
from pathlib import Path
from lockgate.cli.bound import bound
subprocess.Popen(bound(Path("/bin/sh"), ["-c", "echo $$; exec /bin/sleep 1000"], {})).wait()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Of a short name: a socket lies in it."""
    with tempfile.TemporaryDirectory() as place:
        yield Path(place)


def children_of(pid: int) -> set[int]:
    return {int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def gone(descriptor: int) -> bool:
    """Whether the process of a descriptor ends in time; one that does not is ended here."""
    try:
        ended = bool(select.select([descriptor], [], [], SECONDS)[0])
        if not ended:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        return ended
    finally:
        os.close(descriptor)


def test_nothing_in_the_folder_that_somebody_stands_in_is_taken_for_a_module(tmp_path: Path) -> None:
    (tmp_path / "lockgate").mkdir()
    for planted in ("signal.py", "ctypes.py", "lockgate/__init__.py"):
        (tmp_path / planted).write_text("raise SystemExit('planted')")
    command = bound(Path("/bin/echo"), ["ours"], {})
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "ours\n"), done.stderr


def test_a_bound_program_ends_with_a_parent_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", STARTS], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
    assert gone(child)


def test_a_bound_program_is_not_started_for_a_parent_that_is_gone() -> None:
    command = bound(Path("/bin/echo"), ["started"], {})
    command[command.index(str(os.getpid()))] = "1"
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (ORPHANED, "")


def test_a_bound_program_gets_no_environment_but_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCKGATE_TOKEN", "a secret")
    command = bound(Path("/usr/bin/env"), [], {"A": "b=c"})
    assert subprocess.run(command, check=True, capture_output=True).stdout == b"A=b=c\n"


@pytest.mark.opa
def test_an_opa_does_not_outlive_the_process_that_serves_it(opa: Path, folder: Path) -> None:
    bundle = bundle_of(folder)
    bundle.parent.mkdir()
    bundle.write_bytes(packed(load_library()))
    argv = [sys.executable, "-m", "lockgate.cli", "opa", str(folder)]
    with subprocess.Popen(argv, env={**os.environ, "LOCKGATE_OPA": str(opa)}) as middle:
        end = time.monotonic() + SECONDS
        while not socket_of(folder).exists():
            assert middle.poll() is None and time.monotonic() < end
        (pid,) = children_of(middle.pid)
        assert Path(f"/proc/{pid}/exe").resolve() == opa.resolve()
        server = os.pidfd_open(pid)
        middle.send_signal(signal.SIGKILL)
    assert gone(server)
