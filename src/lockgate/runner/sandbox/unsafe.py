"""No sandbox at all, for a laptop that can have none and a human who said so: the job runs as the runner's own user, with all it may do.

It speaks the same channel and is never chosen silently: it exists only under the ``dev`` stamp and an explicit flag, and every
capability, receipt and screen says ``isolated: False`` (TRUST §1, issue 3 part 9).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from lockgate.contract.jobchannel import UNSAFE_ROOT_VARIABLE
from lockgate.runner.egress.tunnels import TunnelNote
from lockgate.runner.sandbox import linux, processes
from lockgate.runner.sandbox.channel import LinkChannel
from lockgate.runner.sandbox.port import (
    CHANNEL_FD_VARIABLE,
    ExitCause,
    ExitReport,
    SandboxCapabilities,
    SandboxSpec,
    SandboxUnavailable,
    SpecRefused,
    TeardownProof,
)
from lockgate.runner.sandbox.processes import Traces
from lockgate.runner.sandbox.profile import check_id, check_spec
from lockgate.runner.sandbox.teardown import proof
from lockgate.runner.sandbox.warden import Relay

_LIMITS: Final = {
    "memory": "none",
    "processes": "none",
    "cpu": "none",
    "files": "none",
    "disk": "none",
    "inodes": "none",
    "wall": "timer",
    "output": "relay",
}


class UnsafeRun:
    """A ``RunningSandbox`` that is none."""

    def __init__(self, spec: SandboxSpec, channel: LinkChannel, process: subprocess.Popen[bytes], trace: str) -> None:
        self.id = spec.id
        self._trace = trace
        self.channel = channel
        self.limits_in_force: Mapping[str, str] = dict(_LIMITS)
        self.uid_shared = True
        self.image: str | None = None
        self.tunnels: tuple[TunnelNote, ...] = ()  # the job has the host's network: there is no way out to hold
        self.process = process
        self.cause: ExitCause | None = None
        self._ending = asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(spec.limits.wall_seconds, self.end, "wall")

    def end(self, cause: ExitCause) -> None:
        """Kill the session's processes; its leader is not reaped yet, so the number is still its own."""
        if self.process.returncode is None:
            self.cause = self.cause or cause
            for pid in processes.find(Traces(session=self.process.pid)):
                processes.kill(pid)

    def end_soon(self, cause: ExitCause) -> None:
        """``end`` from another thread; nothing when the loop is closed already."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.end, cause)

    async def wait(self) -> ExitReport:
        """Wait for the process; what it left behind is ended before it is reaped."""
        async with self._ending:
            if self.process.returncode is None:
                await asyncio.to_thread(os.waitid, os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)
                for pid in (
                    *processes.find(Traces(session=self.process.pid)),
                    *processes.with_environment(self._trace),
                ):
                    processes.kill(pid)
            code = self.process.wait()
        self._timer.cancel()
        await self.channel.drained()
        number = -code if code < 0 else None
        return ExitReport(
            cause=self.cause or ("exit" if number is None else "signal"),
            exit_code=code if number is None else 128 + number,
            signal=number,
            output_tail=self.channel.output_tail,
            output_bytes=self.channel.output_bytes,
        )


class UnsafeNoSandbox:
    """A ``Sandbox`` that isolates nothing. ``i_accept_no_isolation`` must be True, spelled out by whoever makes it."""

    name = "unsafe-no-sandbox"

    def __init__(self, base: Path, *, i_accept_no_isolation: bool) -> None:
        if i_accept_no_isolation is not True:
            raise SandboxUnavailable(
                "running without a sandbox was not asked for", "pass --unsafe-no-sandbox (dev only)"
            )
        self._base = base / "unsafe"
        self._runs: dict[str, UnsafeRun] = {}

    async def probe(self) -> SandboxCapabilities:
        """Says that nothing is isolated."""
        notes = ("no sandbox: the job can do whatever the runner's user can",)
        return SandboxCapabilities(self.name, False, True, dict(_LIMITS), "", notes)

    async def start(self, spec: SandboxSpec) -> UnsafeRun:
        """Start a plain process; raises SpecRefused, SandboxUnavailable."""
        # A path that the job finds where the host has it needs no place of its own; a sandbox has one for none of the host's.
        spec = replace(spec, binds=tuple(bind for bind in spec.binds if bind.target != str(bind.source)))
        check_spec(spec)
        place = self._base / spec.id
        if place.exists():
            raise SpecRefused(f"id {spec.id}: a run of this id exists or left something; destroy it first")
        self._furnish(place, spec)
        ours, theirs = socket.socketpair()
        job, relayed = socket.socketpair()
        reading, writing = os.pipe()
        try:
            process = self._spawn(place, spec, job, writing)
        except OSError as error:
            for sock in (ours, theirs, relayed):
                sock.close()
            os.close(reading)
            shutil.rmtree(place, ignore_errors=True)
            raise SandboxUnavailable(f"the job cannot be started: {error}", "see the message") from None
        finally:
            job.close()
            os.close(writing)
        run = self._runs[spec.id] = UnsafeRun(spec, LinkChannel(spec.stage, ours), process, _trace(place))
        threading.Thread(target=_relay, args=(run, spec.stage, relayed, theirs, reading), daemon=True).start()
        return run

    def _furnish(self, place: Path, spec: SandboxSpec) -> None:
        for directory in ("work", "tmp"):
            (place / directory).mkdir(parents=True, mode=0o700)
        for bind in spec.binds:
            target = place / bind.target.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(bind.source)
        for file in spec.files:
            target = place / file.target.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, file.mode)
            with os.fdopen(descriptor, "wb") as written:
                written.write(file.content)

    def _spawn(self, place: Path, spec: SandboxSpec, job: socket.socket, output: int) -> subprocess.Popen[bytes]:
        outside = _outside(spec)
        given = {name: outside(value) for name, value in spec.env.items()}
        own = {
            "PATH": os.defpath + ":/usr/sbin:/sbin",
            "HOME": str(place / "work"),
            "TMPDIR": str(place / "tmp"),
            "LANG": "C.UTF-8",
            UNSAFE_ROOT_VARIABLE: str(place),
            CHANNEL_FD_VARIABLE: str(job.fileno()),
        }
        return subprocess.Popen(
            [outside(word) for word in spec.argv],
            env=own | given,
            cwd=place / "work",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[job.fileno()],
            start_new_session=True,
        )

    async def destroy(self, sandbox_id: str) -> TeardownProof:
        """Kill the session and what still bears the run's environment, remove the directory, look; a job can hide from this."""
        check_id(sandbox_id)
        began = linux.boottime_ms()
        run = self._runs.get(sandbox_id)
        if run is not None:
            run.end("destroyed")
            await run.wait()
            await run.channel.release()
        place = self._base / sandbox_id
        trace = _trace(place)
        for pid in processes.with_environment(trace):
            processes.kill(pid)
        await asyncio.to_thread(shutil.rmtree, place, True)
        checks = {"processes": not processes.with_environment(trace), "directory": not place.exists()}
        if all(checks.values()):
            self._runs.pop(sandbox_id, None)
        return proof(sandbox_id, checks, began, linux.boottime_ms())

    def foresee(self, enclosure: str, following: SandboxSpec | None) -> bool:
        """A sandbox is there in no time."""
        return False

    async def release(self, enclosure: str) -> None:
        """Its sandboxes share nothing."""

    async def reap(self, keep: Collection[str]) -> list[TeardownProof]:
        """Everything of this directory that is not kept, also of a dead runner."""
        left = sorted(entry.name for entry in self._base.iterdir()) if self._base.is_dir() else []
        return [await self.destroy(sandbox_id) for sandbox_id in left if sandbox_id not in keep]

    async def patrol(self) -> None:
        """Nobody else's sandboxes live here: each runner has a directory of its own."""

    async def close(self) -> None:
        """Destroy what is left; idempotent."""
        for sandbox_id in list(self._runs):
            await self.destroy(sandbox_id)


def _outside(spec: SandboxSpec) -> Callable[[str], str]:
    """Replaces the paths that a sandbox would have by the host's."""
    sources = {bind.target: str(bind.source) for bind in spec.binds}
    longest_first = sorted(sources, key=len, reverse=True)
    known = re.compile("|".join(re.escape(target) + r"(?![\w.-])" for target in longest_first) or r"(?!)")
    return lambda text: known.sub(lambda found: sources[found.group()], text)


def _trace(place: Path) -> str:
    """By what the environment of a run's processes is known."""
    return f"{UNSAFE_ROOT_VARIABLE}={place}"


def _relay(run: UnsafeRun, stage: str, job: socket.socket, link: socket.socket, output: int) -> None:
    for sock in (job, link):
        sock.setblocking(False)
    os.set_blocking(output, False)
    try:
        if not Relay(stage, job, link, output).run():
            run.end_soon("channel")
    finally:
        for sock in (job, link):
            sock.close()
        os.close(output)
