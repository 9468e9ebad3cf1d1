"""`tests/ports.py`: what makes it safe that two runs of tests start servers side by side."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests import ports

OTHER = "from tests.ports import free_ports; print(*free_ports(int(__import__('sys').argv[1])))"


def given_elsewhere(root, count):
    """The ports that another process is given, which begins its search where this one does."""
    program = f"import os; os.getpid = lambda: {os.getpid()}; {OTHER}"
    argv = [sys.executable, "-c", program, str(count)]
    return [int(text) for text in subprocess.run(argv, cwd=root, check=True, capture_output=True).stdout.split()]


def test_no_other_process_is_given_a_port_while_this_one_lives_even_when_nobody_listens_on_it(root):
    mine = ports.free_ports(5)
    theirs = given_elsewhere(root, 50)
    assert len({*mine, *theirs}) == 55
    assert len({*mine, *ports.free_ports(5)}) == 10


def test_a_port_on_which_somebody_listens_is_passed_over(root):
    (next_one,) = given_elsewhere(root, 1)
    with socket.create_server(("127.0.0.1", next_one)):
        assert given_elsewhere(root, 1) != [next_one]


def test_the_kernel_gives_none_of_them_to_whoever_asks_for_any_port():
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert lowest >= ports.LAST


def test_two_threads_are_never_given_the_same_port(monkeypatch):
    together = threading.Barrier(2, timeout=0.5)

    def unused(port):
        """Both threads would be here at once with the same port, if they could."""
        with contextlib.suppress(threading.BrokenBarrierError):
            together.wait()
        return True

    monkeypatch.setattr(ports, "_unused", unused)
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(ports.free_ports, (1, 1))
    assert first != second
