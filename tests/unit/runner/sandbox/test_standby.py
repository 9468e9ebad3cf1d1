"""A standby holds nothing of anyone, is used once, and never outlives its launcher."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lockgate.runner.sandbox.cgroups import CgroupTree, find_tree
from lockgate.runner.sandbox.port import SandboxLimits
from lockgate.runner.sandbox.spawn import Child
from lockgate.runner.sandbox.standby import FIXED, Bench, Standby, memory_file

PREFIX = f"lockgate-standby-test-{os.getpid()}-"


@pytest.fixture(params=["with groups where they can be had", "without groups"])
def tree(request: pytest.FixtureRequest) -> CgroupTree | None:
    return find_tree(PREFIX + "probe") if request.param.startswith("with ") else None


@pytest.fixture
def bench(tree: CgroupTree | None) -> Iterator[Bench]:
    made = Bench(tree, PREFIX)
    yield made
    made.close()


def groups(tree: CgroupTree | None) -> list[str]:
    return [
        entry.name
        for _, parent in (tree.parents if tree else ())
        for entry in parent.iterdir()
        if entry.name.startswith(PREFIX)
    ]


def ended(standby: Standby) -> None:
    """Wait for its end; the test's own timeout bounds it."""
    select.select([standby.process.pidfd], [], [])


def order(standby: Standby, program: str, *arguments: str) -> tuple[str, str]:
    """Have it become `program` instead of bubblewrap: what it printed and what it told by the status pipe."""
    output, status = os.pipe(), os.pipe()
    given = {"arguments": memory_file("a", b""), "seccomp": memory_file("s", b""), "channel": output[1]}
    child = Child(program, arguments, None, (), standby.group, (), SandboxLimits(), os.getpid())
    standby.order(child, {**given, "status": status[1], "output": output[1]}, [])
    for number in (output[1], status[1], given["arguments"], given["seccomp"]):
        os.close(number)
    ended(standby)
    said = os.read(output[0], 65536).decode(), os.read(status[0], 65536).decode()
    os.close(output[0])
    os.close(status[0])
    assert standby.process.poll()
    return said


def test_it_lets_go_of_every_descriptor_but_its_own(bench: Bench) -> None:
    left, right = socket.socketpair()
    bench.renew()
    standby = bench.take()
    right.close()
    # It was forked while `right` was open: were it held, `left` would not see its end.
    left.setblocking(True)
    assert left.recv(1) == b""
    left.close()
    standby.dismiss()


def test_an_order_makes_it_the_program_once_in_its_group(bench: Bench, tree: CgroupTree | None) -> None:
    standby = bench.take()
    # `sh --args N -- …` is no command: what it complains of, where its output goes, shows that it ran.
    printed, told = order(standby, "/bin/sh")
    assert (told, "option" in printed) == ("", True), printed
    if standby.group is not None:
        assert standby.group.remove()
    assert groups(tree) == []


def test_a_program_that_is_not_there_is_told(bench: Bench) -> None:
    standby = bench.take()
    printed, told = order(standby, "/no/such/bwrap")
    assert (printed, "lockgate-error" in told) == ("", True)
    if standby.group is not None:
        standby.group.remove()


def test_one_that_died_waiting_is_replaced(bench: Bench, tree: CgroupTree | None) -> None:
    bench.renew()
    first = bench._waiting
    assert first is not None
    os.kill(first.process.pid, signal.SIGKILL)
    ended(first)
    second = bench.take()
    assert second.process.pid != first.process.pid
    if tree is not None:
        assert len(set(groups(tree))) == 1, "the dead one's groups are gone"
    second.dismiss()


def test_closing_leaves_no_process_and_no_group(bench: Bench, tree: CgroupTree | None) -> None:
    bench.renew()
    standby = bench._waiting
    assert standby is not None and (tree is None or groups(tree))
    bench.close()
    bench.close()
    assert not Path(f"/proc/{standby.process.pid}").exists()
    assert groups(tree) == []


def test_it_dies_with_its_launcher() -> None:
    program = (
        "import os, signal\nfrom lockgate.runner.sandbox.standby import Bench\nbench = Bench(None, 'x')\nbench.renew()\n"
        "print(bench._waiting.process.pid, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == -signal.SIGKILL
    pid = int(done.stdout)
    try:
        number = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    select.select([number], [], [])
    os.close(number)


def test_the_numbers_of_an_order_have_each_their_place() -> None:
    assert len(set(FIXED)) == len(FIXED) and FIXED[0] == "order"
