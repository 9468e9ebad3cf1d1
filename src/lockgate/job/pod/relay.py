"""Carries the job's channel and keeps the end of its output until the job is over, its time is, or nobody wants it any more; it reads no message."""

from __future__ import annotations

import os
import select
import signal
import socket
import time

from lockgate.contract import podchannel as pod

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lockgate.job.pod.child import Child, Order
    from lockgate.job.pod.line import Line
    from lockgate.job.pod.looks import Looks

_MAX_PENDING = 1 << 20
_CHUNK = 64 * 1024
_LOOK_SECONDS = 1.0
"""How often the job's files are counted: an empty one takes memory of the kernel that no size counts."""
_SETTLING_SECONDS = 0.05
"""How often is asked whether the kernel has tried out this pod's address: from then on something could be reached by it."""
_SCRATCH = ("/dev/shm", "/tmp", "/work")  # noqa: S108 - the pod's own
_PIECES = 16
"""So many reads of one thing before the others have their turn; more than any socket or pipe of ours holds."""
ENDED_EXIT = 143
LAST_WORDS_SECONDS = 0.9
"""From an order to end: how long what came of the job may be told, before everything is over in any case."""


class Hearing:
    """Signals as something to wait for: SIGTERM is an order to end, SIGCHLD a reason to look for who has ended.

    Before `started` is set there is nothing to tell: SIGTERM ends this process where it stands, with SystemExit.
    """

    def __init__(self) -> None:
        self.told_to_end = self.started = False
        self.reading, writing = os.pipe()
        for descriptor in (self.reading, writing):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._end)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGALRM, lambda *_: os._exit(ENDED_EXIT))  # with the first process, all others die

    def _end(self, *_: object) -> None:
        if not self.started:
            raise SystemExit(ENDED_EXIT)
        self.told_to_end = True
        signal.setitimer(signal.ITIMER_REAL, LAST_WORDS_SECONDS)

    def drain(self) -> None:
        """Forget what woke us."""
        try:
            while os.read(self.reading, 512):
                pass
        except BlockingIOError:
            return


class Relay:
    """One job's life. `cause` says why it ended where it did not end by itself; `connected` whether anybody is left to be told; `reached` what should not
    have been."""

    def __init__(self, child: Child, line: Line, hearing: Hearing, order: Order, looks: Looks) -> None:
        self._child, self._line, self._hearing, self._looks = child, line, hearing, looks
        self._deadline = time.monotonic() + order.wall_seconds
        self._inodes = order.inodes
        self._pending = bytearray()
        self._talking = self._output_open = True
        self._hung_up = False
        self.connected = True
        self.cause = self.reached = ""
        self.output_bytes = 0
        self.tail = b""

    def run(self) -> None:
        """Until the job is over and nothing of it is left. Raises LineError."""
        while not self.cause and not self._child.reap():
            self._step()
        self._child.end_all()
        self._hear_job()
        self._drain_output()

    def _step(self) -> None:
        poller = select.poll()
        poller.register(self._hearing.reading, select.POLLIN)
        if len(self._pending) < _MAX_PENDING:
            poller.register(self._line.fileno(), select.POLLIN)
        if self._talking:
            poller.register(self._child.channel, select.POLLIN | (select.POLLOUT if self._pending else 0))
        if self._output_open:
            poller.register(self._child.output, select.POLLIN)
        looks = self._looks.numbers()
        for number in looks:
            poller.register(number, select.POLLOUT)
        left = self._deadline - time.monotonic()
        pause = _LOOK_SECONDS if self._looks.settled else _SETTLING_SECONDS
        ready = {number for number, _ in poller.poll(min(max(0.0, left), pause) * 1000)}
        self._hearing.drain()
        if not self._looks.settled or not ready.isdisjoint(looks):
            self.reached = self._looks.reached()
        if self.reached:
            self.cause = "reached"
        elif self._hearing.told_to_end:
            self.cause = "destroyed"
        elif left <= 0:
            self.cause = "wall"
        elif os.getpid() == 1 and _files() > self._inodes:
            self.cause = "disk"
        if self._line.fileno() in ready:
            self._hear_runner()
        self._write_job()
        self._hear_job()
        self._drain_output()

    def _hear_runner(self) -> None:
        frames = self._line.arrived()
        if frames is None:
            self.connected, self.cause = False, self.cause or "destroyed"
            return
        for tag, payload in frames:
            if tag == pod.JOB:
                self._pending += payload
            elif tag == pod.HUNG_UP:
                self._hung_up = True
            elif tag == pod.BYE:
                self.cause = self.cause or "destroyed"

    def _write_job(self) -> None:
        try:
            while self._pending and self._talking:
                del self._pending[: self._child.channel.send(self._pending[:_CHUNK])]
            if self._hung_up:
                self._child.channel.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            return
        except OSError:  # it has hung up; what it says is read all the same
            self._pending.clear()

    def _hear_job(self) -> None:
        for _ in range(_PIECES):
            if not (self._talking and self.connected):
                return
            try:
                chunk = self._child.channel.recv(_CHUNK)
            except BlockingIOError:
                return
            except OSError:
                chunk = b""
            self._talking = bool(chunk)
            self._line.send(pod.JOB if chunk else pod.HUNG_UP, chunk)

    def _drain_output(self) -> None:
        """Read what is there, keep its end: the cap on output is a cap on memory, the rest is counted only."""
        for _ in range(_PIECES):
            try:
                chunk = os.read(self._child.output, _CHUNK) if self._output_open else b""
            except BlockingIOError:
                return
            self._output_open = self._output_open and bool(chunk)
            self.output_bytes += len(chunk)
            self.tail = (self.tail + chunk)[-pod.TAIL_BYTES :]


def _files() -> int:
    """How many files the job's own file systems hold."""
    found = [os.statvfs(place) for place in _SCRATCH]
    return sum(each.f_files - each.f_ffree for each in found)
