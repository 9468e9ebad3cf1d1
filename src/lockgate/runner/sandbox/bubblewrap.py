"""The bubblewrap provider of the ``Sandbox`` port; it never falls back to less than a sandbox (TRUST §3, issue 3 part 9)."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from lockgate.runner.egress.notes import TunnelNotes
from lockgate.runner.egress.tunnels import TunnelNote
from lockgate.runner.sandbox.channel import LinkChannel
from lockgate.runner.sandbox.client import LauncherClient, sealed_memory_file
from lockgate.runner.sandbox.control import proof_from_message, spec_to_message
from lockgate.runner.sandbox.port import (
    ExitReport,
    SandboxCapabilities,
    SandboxLimits,
    SandboxSpec,
    SandboxUnavailable,
    TeardownProof,
)
from lockgate.runner.sandbox.profile import check_id, check_spec
from lockgate.runner.sandbox.uids import DEFAULT_LOCKS, UidRange

OLDEST_BWRAP: Final = (0, 8, 0)
INSTALL_FIX: Final = "apt-get install bubblewrap"
_PROBE_LIMITS: Final = SandboxLimits(wall_seconds=20.0, cpu_seconds=10)


@dataclass(frozen=True)
class BubblewrapSettings:
    """``base``: a directory of the runner's own, as root searchable by others (0711). ``uids`` count for root only."""

    base: Path
    uids: UidRange = field(default_factory=UidRange)
    uid_locks: Path = DEFAULT_LOCKS
    bwrap: str = "bwrap"
    cgroups: bool = True


class BubblewrapRun:
    """A ``RunningSandbox``."""

    def __init__(self, spec: SandboxSpec, channel: LinkChannel, notes: TunnelNotes | None) -> None:
        self.id = spec.id
        self.channel = channel
        self._notes = notes
        self.limits_in_force: Mapping[str, str] = {}
        self.uid_shared = True
        self.image: str | None = None
        self._exit: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    def started(self, limits: Mapping[str, str], uid_shared: bool) -> None:
        """What the launcher answered."""
        self.limits_in_force = dict(limits)
        self.uid_shared = uid_shared

    @property
    def tunnels(self) -> tuple[TunnelNote, ...]:
        """What its proxy noted."""
        return self._notes.tunnels if self._notes is not None else ()

    async def end_egress(self) -> None:
        """Let the proxy say its last words; the teardown ends it in any case."""
        if self._notes is not None:
            await self._notes.finish()

    async def release(self) -> None:
        """Give every descriptor back."""
        await self.channel.release()
        if self._notes is not None:
            await self._notes.release()

    def exited(self, event: dict[str, Any]) -> None:
        """What the launcher saw at the end; later words do not count."""
        if not self._exit.done():
            self._exit.set_result(event)

    async def wait(self) -> ExitReport:
        """Wait for the end of the sandbox and the last word of its warden."""
        event = await asyncio.shield(self._exit)
        await self.channel.drained()
        return ExitReport(
            cause=event["cause"],
            exit_code=event.get("exit_code"),
            signal=event.get("signal"),
            output_tail=self.channel.output_tail,
            output_bytes=self.channel.output_bytes,
        )


class BubblewrapSandbox:
    """A ``Sandbox`` of bubblewrap, a launcher and a warden per stage."""

    name = "bubblewrap"

    def __init__(self, settings: BubblewrapSettings) -> None:
        self._settings = settings
        self._client: LauncherClient | None = None
        self._opening = asyncio.Lock()
        self._runs: dict[str, BubblewrapRun] = {}
        self._uid_shared = True
        self._limits: Mapping[str, str] = {}
        self._version = ""

    async def open(self) -> None:
        """Start the launcher if it is not running; call it before the runner loads keys. Raises SandboxUnavailable."""
        await self._launcher()

    async def probe(self) -> SandboxCapabilities:
        """Run ``true`` in the very profile and look whether its teardown proves; raises SandboxUnavailable with the fix."""
        client = await self._launcher()
        spec = SandboxSpec(id=secrets.token_hex(16), stage="probe", argv=("/usr/bin/true",), limits=_PROBE_LIMITS)
        run = await self._start(client, spec)
        report = await run.wait()
        shown = await self.destroy(spec.id)
        if report.exit_code != 0:
            raise _explained(
                report.output_tail.decode("utf-8", "replace").strip() or f"the probe ended by {report.cause}"
            )
        if not shown.torn_down:
            raise SandboxUnavailable(f"the probe's teardown does not prove: {shown.reason}", "see the runner's log")
        notes = tuple(f"{name}: no limit is in force" for name, how in self._limits.items() if how == "none")
        return SandboxCapabilities(self.name, True, self._uid_shared, self._limits, self._version, notes)

    async def start(self, spec: SandboxSpec) -> BubblewrapRun:
        """Start one stage; raises SpecRefused, SandboxUnavailable."""
        check_spec(spec)
        return await self._start(await self._launcher(), spec)

    async def destroy(self, sandbox_id: str) -> TeardownProof:
        """End, remove, look. Raises SandboxUnavailable when no launcher can be had; then nothing is proven."""
        check_id(sandbox_id)
        client = await self._launcher()
        run = self._runs.get(sandbox_id)
        if run is not None:
            await run.end_egress()
        shown = proof_from_message(await client.ask({"op": "destroy", "id": sandbox_id}))
        if shown.torn_down:
            await self._release(sandbox_id)
        return shown

    def foresee(self, enclosure: str, following: SandboxSpec | None) -> bool:
        """A sandbox is there in no time."""
        return False

    async def release(self, enclosure: str) -> None:
        """Its sandboxes share nothing."""

    async def reap(self, keep: Collection[str]) -> list[TeardownProof]:
        """Destroy everything of this directory that is not in ``keep``."""
        client = await self._launcher()
        proofs = [proof_from_message(each) for each in await client.ask({"op": "reap", "keep": sorted(keep)})]
        for shown in proofs:
            if shown.torn_down:
                await self._release(shown.sandbox_id)
        return proofs

    async def patrol(self) -> None:
        """Nobody else's sandboxes live here: each runner has a directory of its own."""

    async def close(self) -> None:
        """Hang up on the launcher, which destroys what is left; idempotent."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()
        for sandbox_id in list(self._runs):
            await self._release(sandbox_id)

    async def _release(self, sandbox_id: str) -> None:
        run = self._runs.pop(sandbox_id, None)
        if run is not None:
            run.exited({"cause": "destroyed"})
            await run.release()

    async def _launcher(self) -> LauncherClient:
        async with self._opening:
            if self._client is not None and self._client.alive:
                return self._client
            if self._client is not None:
                await self._client.close()
            bwrap, self._version = await asyncio.to_thread(find_bwrap, self._settings.bwrap)
            client = LauncherClient(self._on_event, self._on_end)
            await client.open()
            try:
                said = await client.ask(self._configuration(bwrap))
            except SandboxUnavailable:
                await client.close()
                raise
            self._client, self._uid_shared, self._limits = client, said["uid_shared"], said["limits"]
            return client

    def _configuration(self, bwrap: str) -> dict[str, Any]:
        settings = self._settings
        return {
            "op": "configure",
            "base": str(settings.base.resolve()),
            "bwrap": bwrap,
            "uid_base": settings.uids.base,
            "uid_count": settings.uids.count,
            "uid_locks": str(settings.uid_locks),
            "cgroups": settings.cgroups,
        }

    async def _start(self, client: LauncherClient, spec: SandboxSpec) -> BubblewrapRun:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        channel = LinkChannel(spec.stage, ours)
        files = [sealed_memory_file(file.content) for file in spec.files]
        notes: TunnelNotes | None = None
        if spec.egress is not None:
            link, noting = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            notes = TunnelNotes(link, spec.egress.limits.tunnels + 1)
            files.append(noting.detach())
        run = BubblewrapRun(spec, channel, notes)
        self._runs.setdefault(spec.id, run)
        try:
            said = await client.ask({"op": "start", "spec": spec_to_message(spec)}, [theirs.fileno(), *files])
            run.started(said["limits"], said["uid_shared"])
            return run
        except SandboxUnavailable as unavailable:
            theirs.close()
            await channel.drained()
            tail = channel.output_tail.decode("utf-8", "replace").strip()
            await self._drop(spec.id, run)
            raise _explained(tail or unavailable.reason) from None
        except BaseException:
            theirs.close()
            await self._drop(spec.id, run)
            raise
        finally:
            theirs.close()
            for descriptor in files:
                os.close(descriptor)

    async def _drop(self, sandbox_id: str, run: BubblewrapRun) -> None:
        if self._runs.get(sandbox_id) is run:
            del self._runs[sandbox_id]
        await run.release()

    def _on_event(self, event: dict[str, Any]) -> None:
        run = self._runs.get(event["id"])
        if run is not None:
            run.exited(event)

    def _on_end(self) -> None:
        for run in self._runs.values():
            run.exited({"cause": "lost"})


def find_bwrap(name: str) -> tuple[str, str]:
    """The absolute path and version of bubblewrap; raises SandboxUnavailable with the one command to run."""
    path = shutil.which(name)
    if path is None:
        raise SandboxUnavailable("bubblewrap is not installed", INSTALL_FIX)
    said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    words = said.split()
    numbers = tuple(int(part) for part in words[-1].split(".") if part.isdigit()) if words else ()
    if numbers < OLDEST_BWRAP:
        raise SandboxUnavailable(f"bubblewrap {words[-1] if words else '?'} is too old, 0.8.0 is needed", INSTALL_FIX)
    return path, words[-1]


def _explained(reason: str) -> SandboxUnavailable:
    """Bubblewrap's complaint with the fix for the causes that are known."""
    lowered = reason.lower()
    if "user namespace" in lowered or "uid map" in lowered or "no permissions to creat" in lowered:
        fix = user_namespace_fix()
    elif "proc" in lowered and "permitted" in lowered:
        fix = "run the container with --security-opt systempaths=unconfined (its masked /proc forbids a new one)"
    elif "permitted" in lowered or "permission" in lowered:
        fix = "run the container with --security-opt seccomp=unconfined --security-opt apparmor=unconfined"
    else:
        fix = "run `bwrap --unshare-all --ro-bind / / true` as the runner's user and see what it says"
    return SandboxUnavailable(f"bubblewrap cannot make a sandbox here ({reason[-400:]})", fix)


def user_namespace_fix(sysctl: Path = Path("/proc/sys")) -> str:
    """Which switch of this kernel forbids user namespaces, as the command that changes it."""
    switches = (
        (
            "kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0 (or an AppArmor profile with `userns,` for bwrap)",
        ),
        ("kernel/unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"),
        ("user/max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=15000"),
    )
    for name, bad, fix in switches:
        try:
            if (sysctl / name).read_text().strip() == bad:
                return fix
        except OSError:
            continue
    return "allow user namespaces: in a container, --security-opt seccomp=unconfined --security-opt apparmor=unconfined"
