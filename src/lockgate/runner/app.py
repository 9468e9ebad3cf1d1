"""Wires one runner process from its settings: keys, trust, sandbox, broker, line to the gateway. It chooses parts by name and decides nothing."""

from __future__ import annotations

import asyncio
import base64
import importlib.metadata
import os
import time
from pathlib import Path

import structlog

from lockgate.artifacts.directory import SealedDirectory
from lockgate.contract.keyset import keyid_of, open_keyset
from lockgate.keys.privatefile import read_private
from lockgate.keys.signer import FileSigner, read_public_key
from lockgate.keys.tls import runner_client
from lockgate.runner.background import keep_going
from lockgate.runner.credentials.file import FileBroker
from lockgate.runner.credentials.none import NoBroker
from lockgate.runner.credentials.port import CredentialBroker
from lockgate.runner.installation import installation
from lockgate.runner.journal import Journal
from lockgate.runner.keeping.states import StateKeeper
from lockgate.runner.loop import RunnerLoop
from lockgate.runner.parts import Parts, Trust
from lockgate.runner.recovery import recover
from lockgate.runner.sandbox.basedir import check_base
from lockgate.runner.sandbox.bubblewrap import BubblewrapSandbox, BubblewrapSettings
from lockgate.runner.sandbox.port import Sandbox, SandboxUnavailable
from lockgate.runner.sandbox.runtime_root import TOOL_DISTRIBUTIONS, JobRoot, build_job_root
from lockgate.runner.sandbox.uids import UidRange
from lockgate.runner.sandbox.unsafe import UnsafeNoSandbox
from lockgate.runner.settings import RunnerSettings
from lockgate.runner.toolbox import open_toolbox
from lockgate.runner.whereabouts import JournaledPods
from lockgate.wire.client import GatewayClient

LOG = structlog.get_logger("lockgate.runner")
SWEEP_SECONDS = 600.0


async def serve(
    settings: RunnerSettings, *, ready: asyncio.Event | None = None, stop: asyncio.Event | None = None
) -> None:
    """Run until `stop` is set, then drain. Raises SandboxUnavailable, KeyFileError, JournalError, LogInconsistent."""
    journal = Journal(settings.state_dir / "journal.jsonl")
    try:
        await _serve(settings, journal, ready, stop)
    finally:
        journal.close()


async def _serve(
    settings: RunnerSettings, journal: Journal, ready: asyncio.Event | None, stop: asyncio.Event | None
) -> None:
    # The launcher is a process of its own and starts before this one has read a key (TRUST §3).
    sandbox = make_sandbox(settings, journal)
    capabilities = await sandbox.probe()
    LOG.info("sandbox", provider=capabilities.provider, isolated=capabilities.isolated, notes=list(capabilities.notes))
    job_root = await asyncio.to_thread(make_job_root, settings)
    toolbox = await asyncio.to_thread(open_toolbox, settings)
    for text in toolbox.untrusted:
        LOG.warning("not trusted", what=text)
    trust = read_trust(settings)
    gateway = GatewayClient(settings.gateway, runner_client(settings.keys.tls, dev=settings.dev))
    region = region_secret(settings.keys.region, dev=settings.dev)
    parts = Parts(
        settings=settings,
        trust=trust,
        gateway=gateway,
        sandbox=sandbox,
        capabilities=capabilities,
        broker=make_broker(settings, trust),
        job_root=job_root,
        journal=journal,
        signer=FileSigner(settings.keys.signing, dev=settings.dev),
        region_secret=region,
        toolbox=toolbox,
        artifacts=SealedDirectory(settings.state_dir / "plans", region, os.urandom),
        states=StateKeeper(settings.state_dir / "states", region, os.urandom),
        clock=boot_clock,
        random=os.urandom,
    )
    try:
        await _work(parts, ready, stop)
    finally:
        await sandbox.close()
        await gateway.close()


async def sweep_plans(parts: Parts) -> None:
    """Destroy plan files nobody will apply any more, a bounded number at a time, until cancelled; those of ended applies are gone already."""
    while True:
        try:
            swept = await asyncio.to_thread(parts.artifacts.sweep, time.time() - parts.settings.plan_hours * 3600)
        except OSError as error:
            LOG.error("plan files not swept", error=str(error))
            swept = 0
        if swept:
            LOG.info("plan files destroyed", count=swept)
        await asyncio.sleep(SWEEP_SECONDS)


async def _work(parts: Parts, ready: asyncio.Event | None, stop: asyncio.Event | None) -> None:
    settled = await recover(parts)
    LOG.info("runner", id=parts.settings.id, region=parts.settings.region, settled_from_before=settled)
    loop = RunnerLoop(parts)
    if ready is not None:
        ready.set()
    work = asyncio.create_task(loop.run())
    sweeping = asyncio.create_task(keep_going("sweep of plan files", lambda: sweep_plans(parts)))
    patrolling = asyncio.create_task(keep_going("patrol", parts.sandbox.patrol))
    stopped = asyncio.create_task((stop or asyncio.Event()).wait())
    try:
        await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
        loop.drain()
        await work
    finally:
        for task in (stopped, work, sweeping, patrolling):
            task.cancel()


def make_job_root(settings: RunnerSettings) -> JobRoot:
    """The job root with every installed tool. Raises JobRootError, OSError; SandboxUnavailable when others can write where it is shared."""
    box = settings.sandbox
    if box.roots_dir is not None:
        check_base(box.roots_dir, root=os.geteuid() == 0)
    return build_job_root(box.roots_dir or box.base_dir, tools=installed_tools())


def make_sandbox(settings: RunnerSettings, journal: Journal) -> Sandbox:
    """The provider the settings name; never another one instead. Raises SandboxUnavailable."""
    box = settings.sandbox
    if box.provider == "bubblewrap":
        return BubblewrapSandbox(BubblewrapSettings(base=box.base_dir, uids=UidRange(box.uid_base, box.uid_count)))
    if box.provider == "kubernetes":
        return make_kubernetes(settings, journal)
    if box.provider == "unsafe-no-sandbox" and settings.dev:
        return UnsafeNoSandbox(box.base_dir, i_accept_no_isolation=True)
    raise SandboxUnavailable(
        f"sandbox.provider: {box.provider} is not available in this version", "set sandbox.provider: bubblewrap"
    )


def make_kubernetes(settings: RunnerSettings, journal: Journal) -> Sandbox:
    """Pods in a cluster. The region's secret is read when the first namespace is marked, by when what guards channels runs. Raises SandboxUnavailable."""
    # Only here is a client of a cluster needed, and its memory.
    from lockgate.runner.sandbox.kubernetes.marks import MarkKey, RegionMarks, lifetime
    from lockgate.runner.sandbox.kubernetes.opening import Wanted, open_kubernetes

    box = settings.sandbox
    if box.kubernetes is None or box.image is None:
        raise SandboxUnavailable("sandbox.kubernetes, sandbox.image: are missing", "see the reference of settings")
    seconds = lifetime(max((target.limits.wall_seconds for target in settings.targets.values()), default=0))

    def marks(cluster: str) -> RegionMarks:
        key = MarkKey(region_secret(settings.keys.region, dev=settings.dev))
        instance = installation(settings.state_dir, os.urandom, dev=settings.dev)
        return RegionMarks(key, cluster, settings.region, settings.id, instance, seconds)

    wanted = Wanted(settings.id, box.image, box.runtime_classes, UidRange(box.uid_base, box.uid_count))
    memory = JournaledPods(journal, lambda: region_secret(settings.keys.region, dev=settings.dev))
    return open_kubernetes(box.kubernetes, wanted, marks, memory=memory)


def make_broker(settings: RunnerSettings, trust: Trust) -> CredentialBroker:
    """The broker the settings name."""
    if settings.broker == "file" and settings.secrets_dir is not None:
        return FileBroker(settings.secrets_dir, lambda: trust.keyset, os.urandom, dev=settings.dev)
    return NoBroker()


def read_trust(settings: RunnerSettings) -> Trust:
    """The keyset, verified under the pinned root key. Raises EnvelopeError, KeyFileError."""
    root = read_public_key(settings.keys.root_public)
    envelope = settings.keys.keyset.read_bytes()
    keyset = open_keyset(envelope, root, now=time.time_ns() // 1_000_000)
    LOG.info("keyset", version=keyset.version, deployment=keyset.deployment, root=keyid_of(root), dev=keyset.dev)
    return Trust(keyset, envelope, base64.b64encode(root))


def region_secret(path: Path, *, dev: bool) -> bytes:
    """The region's 32-byte secret. Raises KeyFileError."""
    return base64.b64decode(read_private(path, dev=dev).strip())


def installed_tools() -> tuple[str, ...]:
    """The tools whose distributions are installed beside this runner; a driver without its tool is not offered."""
    return tuple(
        tool for tool, distributions in TOOL_DISTRIBUTIONS.items() if all(_installed(name) for name in distributions)
    )


def _installed(distribution: str) -> bool:
    try:
        importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def boot_clock() -> int:
    """CLOCK_BOOTTIME in ms: it counts suspend and never steps."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
