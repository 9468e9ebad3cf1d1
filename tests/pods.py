"""A pod without a cluster: its first process for real, as PID 1 of a PID namespace of its own, on a root like an image's, in a network that has nothing
but a loopback: what other interfaces this machine has is no business of a pod's.

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
import sys
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
NOWHERE = Surroundings(api_server=(CLOSED,), metadata=(CLOSED,), look_ms=50)


HOLDER = """
import json, socket, subprocess, sys
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
door = socket.socket(fileno=int(sys.argv[1]))
while order := door.recv(4096):
    said = json.loads(order)
    if said["op"] == "listen":
        made = socket.create_server((said["address"], said["port"]))
    else:
        made = socket.create_connection((said["address"], said["port"]), 60, (said["source"], 0) if said["source"] else None)
    socket.send_fds(door, [b"+"], [made.fileno()])
    made.close()
"""


class Network:
    """A network namespace with a loopback alone, and sockets made in it."""

    def __init__(self) -> None:
        self._door, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        command = ["unshare", *user, "--net", sys.executable, "-c", HOLDER, str(theirs.fileno())]
        path = os.environ["PATH"] + ":/usr/sbin:/sbin"
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env={**os.environ, "PATH": path})
        theirs.close()
        self.enter = ["nsenter", f"--net=/proc/{self._process.pid}/ns/net"]
        if user:
            self.enter += [f"--user=/proc/{self._process.pid}/ns/user", "--preserve-credentials"]

    def listen(self, address: str = "127.0.0.1", port: int = 0) -> socket.socket:
        """A listening socket."""
        return self._made(op="listen", address=address, port=port)

    def connect(self, port: int, source: str = "") -> socket.socket:
        """A connection to that port of 127.0.0.1."""
        return self._made(op="connect", address="127.0.0.1", port=port, source=source)

    def _made(self, **order: Any) -> socket.socket:
        self._door.send(json.dumps(order).encode())
        _, found, _, _ = socket.recv_fds(self._door, 1, 1)
        return socket.socket(fileno=found[0])

    def close(self) -> None:
        """End it."""
        self._door.close()
        self._process.wait()


@dataclass(frozen=True)
class ListenThere(Listen):
    """As the provider would listen, but in that network."""

    network: Network | None = None

    def sockets(self, count: int) -> list[socket.socket]:
        """So many."""
        assert self.network is not None
        return [self.network.listen(self.address) for _ in range(count)]


@pytest.fixture
def reachable() -> Iterator[Path]:
    """As `reachable_directory`."""
    with reachable_directory() as place:
        yield place


PATIENT = Patience(ticket=60, arrival=60, stall=60)
"""Only what is broken needs as long. A test that waits for the end of it takes `loopback` with less, by its parameter."""


@pytest.fixture
async def loopback(request: pytest.FixtureRequest, job_root: JobRoot, reachable: Path) -> AsyncIterator[Loopback]:
    """Hosts on 127.0.0.1, as patient as the test's parameter says, and somewhere to run pods."""
    network = Network()
    listen = ListenThere("127.0.0.1", network=network)
    hosts = ChannelHosts(listen, patience=getattr(request, "param", PATIENT))
    yield Loopback(job_root, hosts, reachable, network)
    await hosts.close()
    network.close()


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
        if self.process.returncode is None:
            self.process.kill()
            self.process.communicate()


def start_pod(loopback: Loopback, spec: SandboxSpec, ticket: bytes, environment: Mapping[str, str], *more: str) -> Pod:
    """Start `python -m lockgate.job.pod` on the volumes that the specification needs; `more` of bubblewrap's arguments."""
    root = loopback.root
    kept = loopback.scratch / f"ticket-{os.urandom(4).hex()}"
    kept.write_bytes(ticket)
    program = root.argv("lockgate.job.pod.__main__:main")
    command = ["bwrap", *MOUNTS, "--ro-bind", str(root.path), "/lockgate", "--ro-bind", str(kept), pod.TICKET_FILE]
    for volume in volumes(spec):
        command += ["--perms", "0755", "--size", str(volume.size_bytes), "--tmpfs", volume.path]
    command += [*more, "--remount-ro", "/", "--chdir", "/", "--clearenv"]
    for name, value in {**root.environment(), **environment}.items():
        command += ["--setenv", name, value]
    process = subprocess.Popen(
        [*loopback.network.enter, *command, "--", *program],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
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
        started = start_pod(self.cluster, self.spec, shown, environment, *more)
        self.pods.append(started)
        return started

    def knock(self, source: str = "") -> socket.socket:
        """Somebody else's connection to the channel's port."""
        return self.cluster.network.connect(self.host.port, source)

    def intrude(self, source: str = "", newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLSocket:
        """The same, over TLS."""
        return over_tls(self.knock(source), newest)

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
    network: Network

    def spec(self, program: str, **changes: Any) -> SandboxSpec:
        """A specification that runs `program` after the prelude."""
        argv = changes.pop("argv", (*self.root.interpreter(), "-c", PRELUDE + program))
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


def over_tls(sock: socket.socket, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLSocket:
    """Somebody else's TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode, context.maximum_version = False, ssl.CERT_NONE, newest
    sock.settimeout(60)
    return context.wrap_socket(sock)


def frame(tag: bytes, payload: bytes = b"") -> bytes:
    """As a pod writes it."""
    return (len(payload) + 1).to_bytes(4, "big") + tag + payload


def arrival(**changes: Any) -> bytes:
    """The frame of a pod that says of itself what the runner wants to hear."""
    said = {"version": pod.VERSION, "pod": UID, "checks": dict.fromkeys(pod.CHECKS, True), "had": []} | changes
    return frame(pod.ARRIVAL, json.dumps(said).encode())


def all_that_comes(sock: socket.socket) -> bytes:
    """Everything until the other side ends."""
    sock.settimeout(60)
    heard = b""
    with contextlib.suppress(ConnectionError):
        while chunk := sock.recv(1 << 16):
            heard += chunk
    return heard
