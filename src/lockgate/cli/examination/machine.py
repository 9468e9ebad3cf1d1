"""Checks of the machine: what Lockgate needs from it, whatever the deployment. They run the sandbox's own probe and no other program."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from lockgate.cli.examination.finding import Finding

LEAST_YEAR_MS = 1_767_225_600_000
"""2026-01-01: no machine that runs this version has an earlier clock."""


def check_platform(home: Path) -> Iterator[Finding]:
    """Python, and whether sandboxes can exist here at all."""
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("ok", "python", f"{version} at {sys.executable}")
    if sys.platform != "linux":
        fix = "run the runner on Linux: a virtual machine, WSL2, or a cluster; gateway and CLI run here"
        yield Finding("fault", "platform", f"sandboxes need Linux, this is {sys.platform}", fix)


def check_sqlite(home: Path) -> Iterator[Finding]:
    """SQLite without the WAL-reset bug. Raises StoreError."""
    import pysqlite3

    from lockgate.gateway.store.sqlite.connection import check_version

    check_version()
    yield Finding("ok", "sqlite", pysqlite3.sqlite_version)


def check_sandbox(home: Path) -> Iterator[Finding]:
    """bubblewrap by its own probe: programs, user namespaces, teardown. Raises SandboxUnavailable."""
    if sys.platform != "linux":
        return
    from lockgate.runner.sandbox.bubblewrap import BubblewrapSandbox, BubblewrapSettings
    from lockgate.runner.sandbox.port import SandboxCapabilities

    async def probe(base: Path) -> SandboxCapabilities:
        sandbox = BubblewrapSandbox(BubblewrapSettings(base=base))
        try:
            return await sandbox.probe()
        finally:
            await sandbox.close()

    with tempfile.TemporaryDirectory(prefix="lockgate-doctor-") as folder:
        Path(folder).chmod(0o711 if os.geteuid() == 0 else 0o700)
        found = asyncio.run(probe(Path(folder)))
    yield Finding("ok", "sandbox", f"{found.provider} {found.version} isolates, and its teardown can be proven")
    if found.uid_shared:
        fix = (
            "run the runner as root, so that every sandbox has a uid of its own, or accept it: receipts say uid_shared"
        )
        yield Finding("warning", "sandbox uid", "sandboxes run under this user's own uid", fix)
    for note in found.notes:
        yield Finding(
            "warning", "sandbox limits", note, "give the runner a delegated cgroup v2 (systemd: Delegate=yes)"
        )


def check_tools(home: Path) -> Iterator[Finding]:
    """The tools of the drivers, each optional."""
    from lockgate.runner.app import installed_tools

    here = installed_tools()
    yield Finding("ok", "driver runbook", "needs no tool")
    if "ansible" in here:
        yield Finding("ok", "driver ansible", "ansible-core is installed beside the runner")
    else:
        yield Finding("note", "driver ansible", "ansible-core is not installed", "pip install 'lockgate[ansible]'")


def check_opa(home: Path) -> Iterator[Finding]:
    """opa, which only authors of policies need."""
    from lockgate.policy.opa import OpaMissing, find_opa

    try:
        yield Finding("ok", "opa", str(find_opa()))
    except OpaMissing:
        fix = "only to check, test and compile Rego of your own: tools/get opa, or set LOCKGATE_OPA"
        yield Finding("note", "opa", "not found; decisions do not need it", fix)


def check_clock(home: Path) -> Iterator[Finding]:
    """A clock that is plainly wrong makes every token and keyset look expired or not yet valid."""
    if time.time() * 1000 < LEAST_YEAR_MS:
        yield Finding("fault", "clock", "this machine's clock is years behind", "set the clock, and keep it with NTP")
    else:
        yield Finding("ok", "clock", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))


def check_isolation(home: Path) -> Iterator[Finding]:
    """What no check on one machine can give: a boundary between an agent and its own user."""
    yield Finding(
        "note",
        "same user",
        "a process under your own OS user can read this home's keys and bypass Lockgate; so can an agent that you start",
        "run gateway and runner under a user of their own each, and agents under another one or in a container that reaches only the gateway's port",
    )
