"""A pod without a cluster: its first process for real, as PID 1 of a PID namespace of its own, on a root like an image's; the network is this machine's loopback.

What bubblewrap does here, a kubelet does in a cluster: it mounts, it sets the environment, it starts one program. Nothing of the channel is replaced.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lockgate.contract import podchannel as pod
from lockgate.contract.jobplaces import SANDBOX_ROOT
from lockgate.runner.sandbox.network.host import ChannelHost, Surroundings
from lockgate.runner.sandbox.network.hosts import ChannelHosts
from lockgate.runner.sandbox.network.link import Patience
from lockgate.runner.sandbox.network.listen import Listen
from lockgate.runner.sandbox.network.volumes import volumes
from lockgate.runner.sandbox.port import Bind, SandboxLimits, SandboxSpec
from lockgate.runner.sandbox.runtime_root import JobRoot

PRELUDE = """
import hashlib, json, os, signal, socket, subprocess, sys, time
sys.path.append("/lockgate/lib")
from lockgate.wire.frames import read_frame, write_frame
channel = socket.socket(fileno=int(os.environ["LOCKGATE_CHANNEL_FD"]))
def hello():
    write_frame(channel, {"type": "hello", "version": 2})
    return read_frame(channel)
def ready():
    write_frame(channel, {"type": "ready"})
def result(**fields):
    write_frame(channel, {"type": "result", **fields})
"""
LIMITS = SandboxLimits(wall_seconds=120, cpu_seconds=60)
WELL = "said = hello(); ready(); result(said=said)"
UID = "0f0e0d0c-1111-4222-8333-444455556666"
CLOSED = "127.0.0.1:1"
"""Nothing listens there: on a loopback without network policy, what stands for a place that cannot be reached."""
NOWHERE = Surroundings(api_server=CLOSED, metadata=CLOSED, look_ms=50)


@pytest.fixture
def reachable() -> Iterator[Path]:
    """As `reachable_directory`."""
    with reachable_directory() as place:
        yield place


@pytest.fixture
async def loopback(job_root: JobRoot, reachable: Path) -> AsyncIterator[Loopback]:
    """Hosts on 127.0.0.1 that are not patient, and somewhere to run pods."""
    patience = Patience(ticket=2, arrival=4, stall=4)
    hosts = ChannelHosts(Listen("127.0.0.1"), uid_locks=reachable / "uids", patience=patience)
    yield Loopback(job_root, hosts, reachable)
    await hosts.close()


@contextlib.contextmanager
def reachable_directory() -> Iterator[Path]:
    """Unlike pytest's own, one that every uid can reach."""
    place = Path(tempfile.mkdtemp(prefix="lockgate-test-"))
    place.chmod(0o711)
    yield place
    shutil.rmtree(place)


def pod_environment(host: ChannelHost, **changes: str) -> dict[str, str]:
    """As the provider gives it. The canary is moved to a closed port: loopback has no policy that would keep a pod from it."""
    environment = host.pod_environment(NOWHERE)
    environment[pod.UNREACHABLE_VARIABLE] = f"canary={CLOSED} api_server={CLOSED} metadata={CLOSED}"
    return environment | {pod.POD_VARIABLE: UID, pod.NODE_VARIABLE: "127.0.0.1"} | changes


@dataclass
class Pod:
    """One running first process; `output` is what it wrote to its own stderr, as `kubectl logs` would show."""

    process: subprocess.Popen[bytes]
    ticket: Path
    output: bytes = field(default=b"", repr=False)

    def wait(self, seconds: float = 120) -> int:
        """Its exit code, as bubblewrap passes it on."""
        self.output, _ = self.process.communicate(timeout=seconds)
        return self.process.returncode

    def first(self) -> int:
        """The host's number of PID 1 inside."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return int(children.read_text().split()[0])

    def processes(self) -> list[int]:
        """The host's numbers of everything inside."""
        namespace = Path(f"/proc/{self.first()}/ns/pid").readlink()
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdecimal() and (entry / "ns/pid").readlink() == namespace:
                    found.append(int(entry.name))
        return found

    def terminate(self) -> None:
        """SIGTERM to PID 1, as a kubelet does."""
        os.kill(self.first(), signal.SIGTERM)

    def kill(self) -> None:
        """Everything at once, as when a node dies."""
        self.process.kill()
        self.process.communicate()


def start_pod(
    root: JobRoot, spec: SandboxSpec, ticket: bytes, environment: Mapping[str, str], scratch: Path, *more: str
) -> Pod:
    """Start `python -m lockgate.job.pod` on the volumes that the specification needs. `scratch`: a directory for the ticket's file."""
    kept = scratch / f"ticket-{os.urandom(4).hex()}"
    kept.write_bytes(ticket)
    program = root.argv("lockgate.job.pod.__main__:main")
    command = ["bwrap", *MOUNTS, "--ro-bind", str(root.path), "/lockgate", "--ro-bind", str(kept), pod.TICKET_FILE]
    for volume in volumes(spec):
        command += ["--perms", "0755", "--size", str(volume.size_bytes), "--tmpfs", volume.path]
    command += [*more, "--remount-ro", "/", "--chdir", "/", "--clearenv"]
    for name, value in {**root.environment(), **environment}.items():
        command += ["--setenv", name, value]
    process = subprocess.Popen(
        [*command, "--", *program], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    return Pod(process, kept)


MOUNTS = (
    *("--unshare-pid", "--as-pid-1", "--unshare-ipc", "--die-with-parent", "--ro-bind", "/usr", "/usr"),
    *("--ro-bind", "/etc", "/etc", "--proc", "/proc", "--dev", "/dev"),
    *(
        word
        for name in ("bin", "sbin", "lib", "lib64")
        if (found := Path("/", name)).is_symlink()
        for word in ("--symlink", str(found.readlink()), f"/{name}")
    ),
)


@dataclass
class Stage:
    """A host that is open, and where its pod would run."""

    cluster: Loopback
    spec: SandboxSpec
    host: ChannelHost
    pods: list[Pod] = field(default_factory=list)

    def start(self, *more: str, ticket: bytes | None = None, **changes: str) -> Pod:
        """A pod with this ticket (the right one); `changes` of its environment, `more` of bubblewrap's arguments."""
        environment = pod_environment(self.host, **changes)
        shown = self.host.ticket if ticket is None else ticket
        started = start_pod(self.cluster.root, self.spec, shown, environment, self.cluster.scratch, *more)
        self.pods.append(started)
        return started

    async def run(self) -> Pod:
        """A pod, let in and given everything: its job has been started."""
        started = self.start()
        await self.host.expect(UID, "127.0.0.1")
        await self.host.deliver()
        return started

    async def converse(self, inputs: dict[str, Any] | None = None) -> dict[str, Any]:
        """hello, inputs, ready, result."""
        channel = self.host.channel
        assert (await channel.receive())["type"] == "hello"
        await channel.send({"type": "inputs", **(inputs or {})})
        assert (await channel.receive())["type"] == "ready"
        return await channel.receive()


@dataclass
class Loopback:
    """What a cluster is to the provider: a place where pods of one image can be started."""

    root: JobRoot
    hosts: ChannelHosts
    scratch: Path

    def spec(self, program: str, **changes: Any) -> SandboxSpec:
        """A specification that runs `program` after the prelude."""
        argv = (*self.root.interpreter(), "-c", PRELUDE + program)
        binds = (Bind(self.root.path, SANDBOX_ROOT), *changes.pop("binds", ()))
        given: dict[str, Any] = {"stage": "plan", "limits": LIMITS} | changes
        return SandboxSpec(os.urandom(16).hex(), argv=argv, env=self.root.environment(), binds=binds, **given)

    @contextlib.asynccontextmanager
    async def stage(self, program: str = WELL, **changes: Any) -> AsyncIterator[Stage]:
        """An open host; at the end its pods are killed and it is closed, whatever happened."""
        spec = self.spec(program, **changes)
        stage = Stage(self, spec, await self.hosts.open(spec))
        try:
            yield stage
        finally:
            for started in stage.pods:
                started.kill()
            await stage.host.close()


def over_tls(port: int, *, source: str = "", newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLSocket:
    """Somebody else's TLS connection to a porter."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode, context.maximum_version = False, ssl.CERT_NONE, newest
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port), 20, (source, 0) if source else None))


def frame(tag: bytes, payload: bytes = b"") -> bytes:
    """As a pod writes it."""
    return (len(payload) + 1).to_bytes(4, "big") + tag + payload


def arrival(**changes: Any) -> bytes:
    """The frame of a pod that says of itself what the runner wants to hear."""
    said = {"version": pod.VERSION, "pod": UID, "checks": dict.fromkeys(pod.CHECKS, True), "had": {}} | changes
    return frame(pod.ARRIVAL, json.dumps(said).encode())


def all_that_comes(sock: socket.socket) -> bytes:
    """Everything until the other side ends."""
    sock.settimeout(60)
    heard = b""
    with contextlib.suppress(ConnectionError):
        while chunk := sock.recv(1 << 16):
            heard += chunk
    return heard
