# ruff: noqa: S101 - a contract suite asserts, and names paths inside the sandbox
"""What a sandbox check works with: a provider, programs that run inside, and a register of checks; it must run without pytest."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from lockgate.runner.sandbox.port import (
    Bind,
    ChannelError,
    ExitReport,
    RunningSandbox,
    Sandbox,
    SandboxLimits,
    SandboxSpec,
    SpecRefused,
    TeardownProof,
)
from lockgate.runner.sandbox.runtime_root import INSIDE, JobRoot

MIB: Final = 1024 * 1024
CHECK_SECONDS: Final = 240.0
LIMITS: Final = SandboxLimits(
    memory_bytes=256 * MIB,
    processes=24,
    cpu_seconds=20,
    wall_seconds=300.0,
    open_files=128,
    file_bytes=8 * MIB,
    disk_bytes=4 * MIB,
    output_bytes=64 * 1024,
)

_PRELUDE: Final = """
import ctypes, errno, os, socket, sys
sys.path.append({lib!r})
from lockgate.wire import frames
channel = socket.socket(fileno=int(os.environ["LOCKGATE_CHANNEL_FD"]))
def send(**message): frames.write_frame(channel, message)
def begin():
    send(type="hello", version=1)
    inputs = frames.read_frame(channel)
    send(type="ready")
    return inputs
def result(**found): send(type="result", **found)
def failed(call, *arguments):
    try:
        call(*arguments)
    except (OSError, ImportError) as error:
        return errno.errorcode.get(getattr(error, "errno", 0) or 0, type(error).__name__)
    return ""
libc = ctypes.CDLL(None, use_errno=True)
def syscall(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "syscall")
"""


@dataclass
class Outcome:
    """What one run came to: the job's result or the channel's fault, the exit, the proof."""

    result: dict[str, Any] = field(default_factory=dict)
    fault: str = ""
    report: ExitReport | None = None
    proof: TeardownProof | None = None


@dataclass
class Bench:
    """A provider to be tried, the root its programs run on, and a directory of the host that sandboxes may be shown parts of.

    ``enclosure``: of its sandboxes; whoever made the provider releases it. ``copies``, ``shows``: as the provider's capabilities say.
    """

    provider: Sandbox
    root: JobRoot
    base: Path
    enclosure: str = field(default_factory=lambda: secrets.token_hex(16))
    copies: bool = False
    shows: tuple[str, ...] = ()

    def spec(self, program: str, **changes: Any) -> SandboxSpec:
        """A specification that runs ``program`` after the prelude."""
        code = _PRELUDE.format(lib=f"{INSIDE}/lib") + program
        binds = (Bind(self.root.path, INSIDE), *changes.pop("binds", ()))
        environment = self.root.environment() | changes.pop("env", {})
        given: dict[str, Any] = {"stage": "plan", "limits": LIMITS, "enclosure": self.enclosure} | changes
        argv = (*self.root.interpreter(), "-c", code)
        return SandboxSpec(id=secrets.token_hex(16), argv=argv, env=environment, binds=binds, **given)

    @contextlib.asynccontextmanager
    async def running(self, program: str, **changes: Any) -> AsyncIterator[RunningSandbox]:
        """A started sandbox, destroyed in the end whatever happens; the proof must be true."""
        run = await self.provider.start(self.spec(program, **changes))
        try:
            yield run
        finally:
            proof = await self.provider.destroy(run.id)
            assert proof.torn_down, f"teardown not proven: {proof}"

    async def run(self, program: str, inputs: dict[str, Any] | None = None, **changes: Any) -> Outcome:
        """Run ``program`` to its end and destroy it."""
        outcome = Outcome()
        run = await self.provider.start(self.spec(program, **changes))
        try:
            outcome.result = await converse(run, inputs or {})
        except ChannelError as fault:
            outcome.fault = fault.kind
        outcome.report = await run.wait()
        outcome.proof = await self.provider.destroy(run.id)
        assert outcome.proof.torn_down, f"teardown not proven: {outcome.proof}"
        return outcome

    async def ask(self, program: str, inputs: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
        """The result of ``program``; a run without one fails the check."""
        outcome = await self.run(program, inputs, **changes)
        assert not outcome.fault, f"no result: {outcome.fault}, {outcome.report}"
        return outcome.result

    async def refused(self, program: str, **changes: Any) -> None:
        """A provider that shows copies must refuse by name what it could not mean: a directory of the host to write to."""
        try:
            await self.provider.start(self.spec(program, **changes))
        except SpecRefused as refusal:
            assert str(refusal).startswith("binds.target"), refusal
        else:
            raise AssertionError("a directory of the host was shown for writing, as a copy")

    def shown(self, name: str = "shown") -> Path:
        """A new directory that sandboxes may be shown."""
        place = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.base))
        place.chmod(0o755)
        return place


async def converse(run: RunningSandbox, inputs: dict[str, Any]) -> dict[str, Any]:
    """The runner's side of a run without ``go``."""
    await run.channel.receive()
    await run.channel.send({"type": "inputs"} | inputs)
    await run.channel.receive()
    return await run.channel.receive()


def host_processes(canary: str) -> list[int]:
    """Host processes whose command line holds ``canary``."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if canary.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found


CHECKS: Final[dict[str, Callable[[Bench], Awaitable[None]]]] = {}


def check(function: Callable[[Bench], Awaitable[None]]) -> Callable[[Bench], Awaitable[None]]:
    """Register one check under its own name."""
    CHECKS[function.__name__] = function
    return function


async def outcomes(bench: Bench, names: Collection[str] = ()) -> dict[str, str]:
    """Run the checks (all, or ``names``) one after the other: name to "" when it held, else what got through."""
    found: dict[str, str] = {}
    for name in names or CHECKS:
        try:
            await asyncio.wait_for(CHECKS[name](bench), CHECK_SECONDS)
            found[name] = ""
        except Exception as error:  # noqa: BLE001 - the boundary of a suite: every failure is an outcome
            found[name] = f"{type(error).__name__}: {error}"
    return found


def limits(**changes: Any) -> SandboxLimits:
    """The suite's limits with some changed."""
    return SandboxLimits(**{**vars(LIMITS), **changes})
