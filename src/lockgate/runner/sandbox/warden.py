"""The warden reads what a job says, one process per stage, without keys, root, files or network; only messages in order leave it (TRUST §3).

It is forked by the launcher, drops to a uid of its own, installs an allow-list of system calls, and then relays: job's frames are
checked for size, strict JSON and sequence, written anew and passed on; everything the sandbox prints is drained, counted and forgotten
but for its end. On its link to the runner each frame starts with one byte: M a message, E a fault kind, T the end of the output.
"""

from __future__ import annotations

import gc
import os
import platform
import resource
import select
import signal
import socket
import time
from dataclasses import dataclass
from typing import Final, NoReturn

from lockgate.runner.sandbox import linux, seccomp
from lockgate.runner.sandbox.sequence import ChannelSequence
from lockgate.runner.sandbox.spawn import drop_to
from lockgate.wire.frames import LARGE_MESSAGE_BYTES, FrameBuffer, FrameError, decode, encode, frame, load_encoder

MESSAGE: Final = b"M"
FAULT: Final = b"E"
TAIL: Final = b"T"
TAIL_BYTES: Final = 8 * 1024
COUNT_BYTES: Final = 8
LINGER_SECONDS: Final = 2.0
FAULT_EXIT: Final = 69
_ADDRESS_SPACE_BYTES: Final = 1 << 30
_CHUNK: Final = 256 * 1024


class _Fault(Exception):
    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


@dataclass
class _Stream:
    """One non-blocking socket with what waits to be written to it."""

    sock: socket.socket
    open: bool = True
    pending: bytes = b""

    def flush(self) -> None:
        try:
            while self.pending:
                self.pending = self.pending[self.sock.send(self.pending) :]
        except BlockingIOError:
            return
        except OSError:
            self.pending = b""

    def read(self) -> bytes | None:
        """New bytes, b"" when none wait, None at the end."""
        try:
            return self.sock.recv(_CHUNK) or None
        except BlockingIOError:
            return b""
        except OSError:
            return None


class Relay:
    """One channel from first to last byte; ``step`` does what can be done now."""

    def __init__(self, stage: str, job: socket.socket, link: socket.socket, output_fd: int) -> None:
        self._sequence = ChannelSequence(stage)
        self._job, self._link, self._output = _Stream(job), _Stream(link), output_fd
        self._from_job, self._from_link = FrameBuffer(), FrameBuffer()
        self._result: bytes | None = None
        self._linger_until = 0.0
        self._output_open, self._output_count, self._tail = True, 0, b""
        self._done = False

    def run(self) -> bool:
        """Relay until the sandbox is silent and gone (True), or the job breaks a rule or the runner hangs up (False)."""
        try:
            while self._link.open and not (self._done and not self._output_open):
                self._step()
        except _Fault as fault:
            self._drain_output()
            self._put(FAULT + fault.kind.encode())
        self._put(TAIL + self._output_count.to_bytes(COUNT_BYTES, "big") + self._tail)
        while self._link.open and self._link.pending:
            poller = select.poll()
            poller.register(self._link.sock, select.POLLOUT)
            poller.poll()
            self._link.flush()
        return not self._output_open

    def _step(self) -> None:
        poller = select.poll()
        if self._output_open:
            poller.register(self._output, select.POLLIN)
        for stream in (self._job, self._link):
            if stream.open:
                poller.register(stream.sock, select.POLLIN | (select.POLLOUT if stream.pending else 0))
        holding = self._result is not None and not self._done
        poller.poll(max(0.0, self._linger_until - time.monotonic()) * 1000 if holding else None)
        self._drain_output()
        self._job.flush()
        self._link.flush()
        self._hear_runner()
        self._hear_job()
        if holding and not self._done and time.monotonic() >= self._linger_until:
            self._deliver_result()

    def _hear_runner(self) -> None:
        data = self._link.read()
        if data is None:
            self._link.open = False
            return
        self._from_link.feed(data)
        payload = self._from_link.take(LARGE_MESSAGE_BYTES)
        step = self._sequence.expected()
        if payload is not None and step is not None and self._sequence.advance("runner", step.type):
            self._job.pending += frame(payload)  # the runner's own channel already held it to type and size
            self._job.flush()

    def _hear_job(self) -> None:
        if not self._job.open:
            return
        data = self._job.read()
        if data:
            self._from_job.feed(data)
        while len(self._from_job):
            if not self._take_message():
                break
        if data is None:
            self._job.open = False
            self._job_ended()

    def _take_message(self) -> bool:
        """One whole message of the job, if it is there; a byte out of turn is already too much."""
        limit = None if self._result is not None else self._sequence.limit_for("job")
        if limit is None:
            raise _Fault("out_of_sequence")
        try:
            payload = self._from_job.take(limit)
            if payload is None:
                return False
            message = decode(payload)
            written = encode(message, limit)
        except FrameError as error:
            raise _Fault(error.kind) from None
        except MemoryError:
            raise _Fault("oversize") from None
        if not self._sequence.advance("job", message.get("type")):
            raise _Fault("out_of_sequence")
        if self._sequence.expected() is None:  # held back until the job has hung up: nothing may follow it
            self._result = written
            self._linger_until = time.monotonic() + LINGER_SECONDS
        else:
            self._put_frame(MESSAGE, written)
        return True

    def _job_ended(self) -> None:
        if self._result is None or len(self._from_job):
            self._put(FAULT + b"eof")
            self._done = True
        elif not self._done:
            self._deliver_result()

    def _deliver_result(self) -> None:
        if self._result is not None:
            self._put_frame(MESSAGE, self._result)
        self._done = True
        if self._job.open:  # it may stay a little, but it has no voice any more
            self._job.open = False
            self._job.sock.close()

    def _drain_output(self) -> None:
        """Read what is there, keep its end. The runner's cap on output is a cap on memory: the rest is counted only."""
        while self._output_open:
            try:
                chunk = os.read(self._output, _CHUNK)
            except BlockingIOError:
                return
            if not chunk:
                self._output_open = False
                return
            self._output_count += len(chunk)
            self._tail = (self._tail + chunk[-TAIL_BYTES:])[-TAIL_BYTES:]
            if len(chunk) < _CHUNK:
                return

    def _put(self, payload: bytes) -> None:
        self._link.pending += frame(payload)
        self._link.flush()

    def _put_frame(self, tag: bytes, written: bytes) -> None:
        self._put(tag + written[4:])


def become_warden(
    stage: str, job: socket.socket, link: socket.socket, output_fd: int, uid: int | None, parent: int
) -> NoReturn:
    """Turn this forked child into a warden; never returns."""
    code = 70
    try:
        gc.disable()
        confine({job.fileno(), link.fileno(), output_fd}, uid, parent)
        for sock in (job, link):
            sock.setblocking(False)
        os.set_blocking(output_fd, False)
        load_encoder()  # no file can be opened from the next line on
        linux.install_filter(seccomp.warden_filter(platform.machine()))
        code = 0 if Relay(stage, job, link, output_fd).run() else FAULT_EXIT
    finally:
        os._exit(code)


def confine(keep: set[int], uid: int | None, parent: int) -> None:
    """Leave a forked child nothing but the descriptors in ``keep``: own session, uid, no new privileges, no files to write, dead with ``parent``."""
    os.setsid()
    null = os.open("/dev/null", os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    edge = 3
    for descriptor in sorted(keep):
        os.closerange(edge, descriptor)
        edge = descriptor + 1
    os.closerange(edge, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE_BYTES, _ADDRESS_SPACE_BYTES))
    drop_to(uid)
    linux.die_with_parent(signal.SIGKILL)
    linux.hide_from_tracers()
    linux.forbid_new_privileges()
    if os.getppid() != parent:
        os._exit(71)
