"""Time from asking for a sandbox to its job's `ready`, beside a bare interpreter of the same run, and time to a proven teardown."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench.figures import Figure, median, percentile
from tests.bench.processes import ROOT
from tests.grants import planning

from lockgate.cli.bootstrap.making import sandbox_base
from lockgate.contract import jobchannel
from lockgate.contract.canonical import canonical, sha256
from lockgate.contract.codec import to_document
from lockgate.contract.grant import GRANT_TYPE, PERMIT_TYPE, Limits, Permit
from lockgate.contract.intent import Phase, Stage
from lockgate.contract.jobchannel import JobInputs
from lockgate.contract.keyset import PAYLOAD_TYPE, KeyRole, Keyset
from lockgate.contract.signed import envelope_sha256, write_signed
from lockgate.contract.snapshot import snapshot_digest
from lockgate.contract.work import InputsDocument
from lockgate.job.source import walk
from lockgate.keys.keysets import key_entry
from lockgate.keys.signer import FileSigner, generate_key
from lockgate.runner.sandbox.bubblewrap import BubblewrapSandbox, BubblewrapSettings
from lockgate.runner.sandbox.port import Bind, InjectedFile, SandboxSpec
from lockgate.runner.sandbox.runtime_root import JobRoot, build_job_root

DIGEST = "sha256:" + "a" * 64
LIMITS = Limits(512 << 20, 128, 60, 60, 1024, 64 << 20, 64 << 20, 1 << 20)


class StageFailed(RuntimeError):
    """A stage of the bench ended otherwise than ok, or its sandbox was not proven gone: there is no figure to give."""


@dataclass(frozen=True, slots=True)
class Took:
    """Milliseconds of one stage."""

    ready: float
    bare: float
    teardown: float


async def measure(place: Path, count: int = 40) -> list[Figure]:
    """`count` plan stages of the runbook driver, one after the other. Raises StageFailed, SandboxUnavailable."""
    with reachable(place) as base:
        root = build_job_root(base)
        source = shutil.copytree(ROOT / "examples/sources/service", base / "source")
        spec, inputs = plan_stage(base, root, source)
        sandbox = BubblewrapSandbox(BubblewrapSettings(base))
        try:
            for _ in range(3):
                await _once(sandbox, spec, inputs)
            took = [await _once(sandbox, spec, inputs) for _ in range(count)]
        finally:
            await sandbox.close()
    ready, bare = [item.ready for item in took], [item.bare for item in took]
    teardown = [item.teardown for item in took]
    goal = "`ready` is sent after the job verified keyset, grant, permit, inputs and source"
    return [
        Figure(
            "bare `python -c pass`, p50", median(bare), "ms", note="the bench's own interpreter, one before each stage"
        ),
        Figure("sandbox to the job's ready, p50", median(ready), "ms", note=goal),
        Figure("ready / bare python, p50", median(ready) / median(bare), "x"),
        Figure("sandbox to the job's ready, p99", percentile(ready, 0.99), "ms", note=f"{count} stages"),
        Figure("teardown proven, p50", median(teardown), "ms"),
        Figure("teardown proven, p99", percentile(teardown, 0.99), "ms", note=f"{count} stages"),
    ]


async def _once(sandbox: BubblewrapSandbox, spec: SandboxSpec, inputs: JobInputs) -> Took:
    bare = await asyncio.to_thread(_bare_python)
    fresh = SandboxSpec(os.urandom(16).hex(), spec.stage, spec.argv, spec.env, spec.binds, spec.files, spec.limits)
    began = time.perf_counter()
    running = await sandbox.start(fresh)
    await running.channel.receive()
    await running.channel.send({"type": "inputs", **to_document(inputs)})
    await running.channel.receive()
    ready = time.perf_counter() - began
    result = await running.channel.receive()
    began = time.perf_counter()
    proof = await sandbox.destroy(fresh.id)
    teardown = time.perf_counter() - began
    if result["status"] != "ok" or not proof.torn_down:
        raise StageFailed(f"{result}; {proof}")
    return Took(ready * 1000, bare * 1000, teardown * 1000)


def _bare_python() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True, stdin=subprocess.DEVNULL)
    return time.perf_counter() - began


def plan_stage(base: Path, root: JobRoot, source: Path) -> tuple[SandboxSpec, JobInputs]:
    """A plan stage as the runner makes it (runner/stages.py), signed by throw-away keys."""
    (base / "keys").mkdir(mode=0o700)
    keys = {name: generate_key(base / "keys" / f"{name}.pem") for name in ("root", "grant")}
    keyset = Keyset(1, "bench", True, 0, 1 << 52, (key_entry(KeyRole.GRANT, keys["grant"].public),))
    document = InputsDocument(
        version=1,
        driver="runbook",
        entry="set-replicas",
        variables={"service": "web", "replicas": 3},
        settings={"state_dir": "/work/scratch"},
        snapshot_sha256=snapshot_digest(walk(str(source))),
        tool_name="source",
        tool_version="1",
        tool_sha256=DIGEST,
        job_sha256="sha256:" + root.digest,
    )
    text = canonical(to_document(document))
    grant, permit = _permission(keys["grant"], sha256(text))
    files = (
        InjectedFile(jobchannel.KEYSET_FILE, write_signed(keyset, PAYLOAD_TYPE, keys["root"]), 0o444),
        InjectedFile(jobchannel.ROOT_KEY_FILE, base64.b64encode(keys["root"].public), 0o444),
    )
    binds = (Bind(root.path, jobchannel.SANDBOX_ROOT), Bind(source, jobchannel.SANDBOX_SOURCE))
    spec = SandboxSpec("", Stage.PLAN.value, root.argv(), root.environment(), binds, files)
    return spec, JobInputs(Stage.PLAN, grant, permit, text.decode(), 1 << 20, 60)


def _permission(signer: FileSigner, inputs_sha256: str) -> tuple[str, str]:
    grant = planning(deployment="bench", fence=1, limits=LIMITS, not_after=60_001)
    envelope = write_signed(grant, GRANT_TYPE, signer)
    named = (envelope_sha256(envelope), "op_1", "at_1", 1, Phase.PLAN, inputs_sha256, None, "broker", 1, 60_001)
    permit = write_signed(Permit(1, "bench", "pe_1", *named), PERMIT_TYPE, signer)
    return envelope.decode(), permit.decode()


@contextlib.contextmanager
def reachable(place: Path) -> Iterator[Path]:
    """Where sandboxes may lie: below `place`, or where bootstrap would put them when other uids cannot pass through to it."""
    place.mkdir(exist_ok=True)
    base = sandbox_base(place)
    base.mkdir(parents=True, exist_ok=True)
    base.chmod(0o711)
    try:
        yield base
    finally:
        shutil.rmtree(base, ignore_errors=True)
