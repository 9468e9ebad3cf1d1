# ruff: noqa: S101, S108 - a contract suite asserts, and names paths inside the sandbox
"""The contract every ``Sandbox`` provider must meet, as real attempts made from inside; it must run without pytest.

Install it for your own provider: make a ``Bench`` around the provider and run each function of ``CHECKS`` with it; a check raises
AssertionError with what got through. Every program inside is run by the job root's interpreter, speaks the job's channel, tries
something, and reports what happened; what the host can see is then looked at from the host.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import stat
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from lockgate.runner.sandbox.port import (
    Bind,
    ChannelError,
    ExitReport,
    InjectedFile,
    RunningSandbox,
    Sandbox,
    SandboxLimits,
    SandboxSpec,
    TeardownProof,
)
from lockgate.runner.sandbox.runtime_root import INSIDE, JobRoot

MIB: Final = 1024 * 1024
CHECK_SECONDS: Final = 240.0
LIMITS: Final = SandboxLimits(
    memory_bytes=256 * MIB,
    processes=24,
    cpu_seconds=20,
    wall_seconds=60.0,
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
    """A provider to be tried, the root its programs run on, and a directory of the host that sandboxes may be shown parts of."""

    provider: Sandbox
    root: JobRoot
    base: Path

    def spec(self, program: str, **changes: Any) -> SandboxSpec:
        """A specification that runs ``program`` after the prelude."""
        code = _PRELUDE.format(lib=f"{INSIDE}/lib") + program
        binds = (Bind(self.root.path, INSIDE), *changes.pop("binds", ()))
        environment = self.root.environment() | changes.pop("env", {})
        given: dict[str, Any] = {"stage": "plan", "limits": LIMITS} | changes
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


@check
async def reads_no_file_of_the_host(bench: Bench) -> None:
    """Not even one that every user may read, nor the host's /etc, nor any home."""
    secret = bench.shown() / "secret"
    secret.write_text("host secret")
    secret.chmod(0o644)
    paths = [
        "/etc/shadow",
        "/root",
        "/home",
        "/var",
        "/sys",
        "/boot",
        "/proc/1/root/etc/shadow",
        "/proc/1/mem",
        str(secret),
    ]
    program = """
inputs = begin()
def peek(path):
    return os.listdir(path) if os.path.isdir(path) else open(path, "rb").read(1)
result(opened=[path for path in inputs["paths"] if not failed(peek, path)], users=open("/etc/passwd").read())
"""
    found = await bench.ask(program, {"paths": paths})
    assert found["opened"] == []
    assert [line.split(":")[0] for line in found["users"].splitlines()] == ["root", "sandbox"]


@check
async def sees_no_process_environment_or_memory_of_the_runner(bench: Bench) -> None:
    """A canary in the runner's environment, and its pid, lead nowhere."""
    canary = secrets.token_hex(16)
    os.environ["LOCKGATE_TEST_CANARY"] = canary
    program = """
inputs = begin()
seen, pids = [], [int(name) for name in os.listdir("/proc") if name.isdigit()]
for pid in pids:
    for name in ("environ", "cmdline"):
        try:
            if inputs["canary"].encode() in open(f"/proc/{pid}/{name}", "rb").read(): seen.append(pid)
        except OSError: pass
PTRACE_ATTACH = 16
result(seen=seen, pids=pids, traced=failed(syscall, inputs["ptrace"], PTRACE_ATTACH, 1, 0, 0))
"""
    try:
        numbers = {"ptrace": 101 if os.uname().machine == "x86_64" else 117}
        found = await bench.ask(program, {"canary": canary, **numbers})
    finally:
        del os.environ["LOCKGATE_TEST_CANARY"]
    assert found["seen"] == []
    assert len(found["pids"]) <= 3 and max(found["pids"]) < 100, f"foreign processes: {found['pids']}"
    assert found["traced"] == "EPERM", found


@check
async def sees_nothing_of_another_live_run(bench: Bench) -> None:
    """Neither its files nor its injected secret nor its processes."""
    mark = secrets.token_hex(12)
    resident = """
inputs = begin()
for place in ("/work", "/tmp", "/dev/shm"): open(f"{place}/{inputs['mark']}", "w").write("theirs")
channel.recv(1)
"""
    program = """
inputs = begin()
hits = []
for top, names, files in os.walk("/"):
    names[:] = [name for name in names if top + name not in ("/proc", "/usr", "/lockgate")]
    hits += [top for name in files if inputs["mark"] in name]
for pid in filter(str.isdigit, os.listdir("/proc")):
    try: hits += [pid] * (inputs["mark"] in str(os.listdir(f"/proc/{pid}/root/work")))
    except OSError: pass
result(hits=hits, uid=os.getuid(), pids=[name for name in os.listdir("/proc") if name.isdigit()])
"""
    files = (InjectedFile(f"/run/credentials/{mark}", b"secret"),)
    async with bench.running(resident, files=files) as run:
        await run.channel.receive()
        await run.channel.send({"type": "inputs", "mark": mark})
        await run.channel.receive()
        found = await bench.ask(program, {"mark": mark})
    assert found["hits"] == []
    assert len(found["pids"]) <= 3


@check
async def reaches_no_network(bench: Bench) -> None:
    """A listener the test opens stays unreached by TCP, UDP and abstract Unix sockets; there is no other interface than lo."""
    name = "\0lockgate-test-" + secrets.token_hex(8)
    with socket.socket() as listener, socket.socket(socket.AF_UNIX) as abstract:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        abstract.bind(name)
        abstract.listen()
        program = """
inputs = begin()
def tcp(): socket.create_connection(("127.0.0.1", inputs["port"]), 3)
def udp(): socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", inputs["port"]))
def tcp6(): socket.socket(socket.AF_INET6)
def netlink(): socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
def packet(): socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
def vsock(): socket.socket(40, socket.SOCK_STREAM)
def abstract(): socket.socket(socket.AF_UNIX).connect(inputs["abstract"])
def names(): socket.getaddrinfo("example.org", 443)
tries = (tcp, udp, tcp6, netlink, packet, vsock, abstract, names)
links = [line.split(":")[0].strip() for line in open("/proc/net/dev").readlines()[2:]]
result(reached=[one.__name__ for one in tries if not failed(one)], links=links)
"""
        found = await bench.ask(program, {"port": listener.getsockname()[1], "abstract": name})
    assert found["reached"] == []
    assert found["links"] == ["lo"]


@check
async def nothing_outlives_the_run(bench: Bench) -> None:
    """A daemon forked twice, in a session of its own, deaf to signals, is gone after the teardown."""
    canary = secrets.token_hex(16)
    program = """
inputs = begin()
import signal
reading, writing = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in (1, 2, 3, 15): signal.signal(number, signal.SIG_IGN)
        channel.close()
        os.write(writing, b"x")
        os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)", inputs["canary"]])
    os._exit(0)
os.read(reading, 1)
if inputs["stay"]: channel.recv(1)
result(done=True)
"""
    await bench.ask(program, {"canary": canary, "stay": False})
    assert host_processes(canary) == []
    async with bench.running(program) as run:
        await run.channel.receive()
        await run.channel.send({"type": "inputs", "canary": canary, "stay": True})
        await run.channel.receive()
        # ready is sent before the fork: the daemon must really be there before the teardown is asked to end it
        while not host_processes(canary):  # noqa: ASYNC110 - no event tells of a stranger's process
            await asyncio.sleep(0.01)
    assert host_processes(canary) == []


@check
async def a_fork_bomb_stays_within_its_cap(bench: Bench) -> None:
    """Bounded at ten times the cap, so that a missing cap fails the check and not the machine."""
    program = """
inputs = begin()
children, refused = 0, ""
for _ in range(inputs["most"]):
    try: pid = os.fork()
    except OSError as error:
        refused = errno.errorcode[error.errno]
        break
    if pid == 0:
        channel.close()
        import time; time.sleep(600)
        os._exit(0)
    children += 1
result(children=children, refused=refused)
"""
    found = await bench.ask(program, {"most": LIMITS.processes * 10})
    assert found["refused"] == "EAGAIN"
    assert found["children"] <= LIMITS.processes


@check
async def the_disk_cannot_be_filled(bench: Bench) -> None:
    """Whatever can be written is bounded by size; everything else is read-only."""
    program = """
inputs = begin()
written, block = {}, b"x" * 65536
for top in ("/", "/work", "/tmp", "/dev", "/dev/shm", "/run", "/etc", "/usr", "/var/tmp", "/lockgate", "/proc"):
    total = 0
    try:
        for number in range(64):
            with open(f"{top}/fill{number}", "wb", buffering=0) as file:
                for _ in range(64): total += file.write(block)
    except OSError: pass
    written[top] = total
result(written=written)
"""
    found = await bench.ask(program)
    roomy = {top for top, total in found["written"].items() if total}
    assert roomy <= {"/work", "/tmp", "/dev/shm"}, f"writable: {roomy}"
    assert max(found["written"].values()) <= LIMITS.disk_bytes
    assert found["written"]["/work"] > 0


@check
async def one_file_has_a_cap(bench: Bench) -> None:
    """A sparse file cannot grow past ``file_bytes`` either."""
    program = """
inputs = begin()
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
result(error=failed(os.truncate, os.open("/work/big", os.O_RDWR | os.O_CREAT), inputs["size"]))
"""
    found = await bench.ask(program, {"size": LIMITS.file_bytes + 1})
    assert found["error"] == "EFBIG"


@check
async def memory_beyond_the_cap_ends_it(bench: Bench) -> None:
    """Either the allocation fails inside, or the kernel ends the run and the report says why."""
    program = """
inputs = begin()
try:
    block = bytearray(inputs["size"])
    for at in range(0, len(block), 4096): block[at] = 1
    result(held=True)
except MemoryError:
    result(held=False)
"""
    outcome = await bench.run(program, {"size": LIMITS.memory_bytes * 2})
    assert outcome.result.get("held") is not True
    assert outcome.report is not None
    if outcome.fault:
        assert outcome.report.cause == "oom", outcome.report


@check
async def endless_computing_ends(bench: Bench) -> None:
    """CPU time has a cap of its own, well before the wall."""
    outcome = await bench.run("begin()\nwhile True: pass\n", limits=_limits(cpu_seconds=1))
    assert outcome.fault == "eof"
    assert outcome.report is not None and outcome.report.cause in ("cpu", "signal"), outcome.report


@check
async def a_silent_job_ends_at_the_wall(bench: Bench) -> None:
    """A job that hangs without a report is ended by the clock, and the report says so."""
    outcome = await bench.run("begin()\nimport time\nwhile True: time.sleep(60)\n", limits=_limits(wall_seconds=1.5))
    assert outcome.fault == "eof"
    assert outcome.report is not None and outcome.report.cause == "wall", outcome.report


@check
async def a_flood_of_output_fills_nothing(bench: Bench) -> None:
    """100 MB of output are drained; only the end is kept, and the result still arrives."""
    program = """
begin()
block = b"flood " * 20000
for _ in range(850): os.write(1, block)
os.write(2, b"the end")
result(done=True)
"""
    outcome = await bench.run(program)
    assert outcome.result.get("done") is True, outcome
    assert outcome.report is not None
    assert outcome.report.output_bytes >= 100_000_000
    assert len(outcome.report.output_tail) <= 64 * 1024
    assert outcome.report.output_tail.endswith(b"the end")


@check
async def a_read_only_source_stays_as_it_is(bench: Bench) -> None:
    """Writing, appending, removing, renaming, linking, changing mode: all refused, and the host's file is untouched."""
    source = bench.shown("source")
    (source / "main.yml").write_text("approved")
    source.chmod(0o777)
    (source / "main.yml").chmod(0o666)
    program = """
begin()
path = "/work/source/main.yml"
tries = {"write": (open, path, "w"), "append": (open, path, "a"), "remove": (os.unlink, path), "chmod": (os.chmod, path, 0),
         "rename": (os.rename, path, path + "x"), "new": (open, path + "y", "w"), "link": (os.link, path, path + "z")}
result(done=[name for name, (call, *given) in tries.items() if not failed(call, *given)], text=open(path).read())
"""
    found = await bench.ask(program, binds=(Bind(source, "/work/source"),))
    assert found == {"type": "result", "done": [], "text": "approved"}
    assert (source / "main.yml").read_text() == "approved"
    assert [entry.name for entry in source.iterdir()] == ["main.yml"]


@check
async def gains_no_privilege(bench: Bench) -> None:
    """No capabilities, no new ones, no namespaces, no mounts, no setuid; the filter is on."""
    program = """
begin()
def write(path, data):
    with open(path, "wb", buffering=0) as file: file.write(data)
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines() if ":" in line)
CLONE_NEWUSER, CLONE_NEWNS = 0x10000000, 0x20000
tries = {"setuid": (os.setuid, 0), "chroot": (os.chroot, "/work"), "sethostname": (socket.sethostname, "x"),
         "unshare": (lambda: syscall(272 if os.uname().machine == "x86_64" else 97, CLONE_NEWUSER),),
         "clone": (lambda: syscall(56 if os.uname().machine == "x86_64" else 220, CLONE_NEWUSER | 17, 0, 0, 0, 0),),
         "clone3": (lambda: syscall(435, 0, 0),), "io_uring": (lambda: syscall(425, 1, 0),), "open_tree": (lambda: syscall(428, -100, 0, 0),),
         "mount": (lambda: syscall(165 if os.uname().machine == "x86_64" else 40, 0, 0, 0, 0, 0),),
         "keyctl": (lambda: syscall(250 if os.uname().machine == "x86_64" else 219, 0, -3, 0),),
         "bpf": (lambda: syscall(321 if os.uname().machine == "x86_64" else 280, 0, 0, 0),),
         "uid_map": (write, "/proc/self/uid_map", b"0 0 1"), "sysctl": (write, "/proc/sys/kernel/hostname", b"x"),
         "device": (os.mknod, "/work/disk", 0o60600, os.makedev(8, 0))}
result(got=[name for name, (call, *given) in tries.items() if not failed(call, *given)],
       caps=[status[name].strip() for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")],
       no_new_privileges=status["NoNewPrivs"].strip(), seccomp=status["Seccomp"].strip(), uid=os.getuid())
"""
    found = await bench.ask(program)
    assert found["got"] == [], found["got"]
    assert set(found["caps"]) == {"0" * 16}
    assert (found["no_new_privileges"], found["seccomp"]) == ("1", "2")
    assert found["uid"] != 0


@check
async def cannot_end_another_run(bench: Bench) -> None:
    """Killing everything in sight kills only itself."""
    resident = "begin()\nimport time\ntime.sleep(1)\nresult(alive=True)\n"
    async with bench.running(resident) as run:
        await run.channel.receive()
        await run.channel.send({"type": "inputs"})
        await run.channel.receive()
        await bench.run("begin()\nimport signal\nos.kill(-1, signal.SIGKILL)\nos.kill(os.getpid(), signal.SIGKILL)\n")
        assert (await run.channel.receive())["alive"] is True


@check
async def inherits_nothing_but_its_channel(bench: Bench) -> None:
    """Descriptors, environment: only what the specification gives."""
    program = """
begin()
opened = os.open("/proc/self/fd", os.O_RDONLY)
numbers = [int(name) for name in os.listdir(f"/proc/self/fd") if int(name) > 2 and int(name) != opened]
alive = [number for number in numbers if not failed(os.fstat, number)]
result(extra=[number for number in alive if number != channel.fileno()], env=sorted(os.environ))
"""
    found = await bench.ask(program, env={"GIVEN": "yes"})
    assert found["extra"] == []
    base = {"PATH", "HOME", "TMPDIR", "LANG", "TZ", "PWD", "LOCKGATE_CHANNEL_FD", "GIVEN", "LC_CTYPE"}
    assert set(found["env"]) - base <= set(bench.root.environment()), found["env"]


@check
async def an_injected_file_is_read_only_and_in_memory(bench: Bench) -> None:
    """It has exactly its content and mode, cannot be changed, and the secret shows in no command line of the host."""
    secret = secrets.token_hex(16)
    path = "/run/credentials/token"
    program = """
begin()
path = "/run/credentials/token"
mode = os.stat(path).st_mode & 0o777
mount = [line.split(" - ")[1].split()[0] for line in open("/proc/self/mountinfo") if line.split()[4] == path]
result(text=open(path).read(), mode=mode, mount=mount, changed=not failed(open, path, "r+"), removed=not failed(os.unlink, path))
channel.recv(1)
"""
    async with bench.running(program, files=(InjectedFile(path, secret.encode()),)) as run:
        found = await converse(run, {})
        assert host_processes(secret) == []
    assert found["text"] == secret
    assert stat.filemode(found["mode"])[1:] == "r--------"
    assert found["mount"] == ["tmpfs"]
    assert (found["changed"], found["removed"]) == (False, False)


_FAULTY: Final = {
    "a duplicate hello": ("send(type='hello')\nsend(type='hello')", "out_of_sequence"),
    "a first message that is no hello": ("send(type='ready')", "out_of_sequence"),
    "ready before inputs": (
        "channel.sendall(frames.encode({'type': 'hello'}) + frames.encode({'type': 'ready'}))",
        "out_of_sequence",
    ),
    "an unknown type": ("send(type='own')", "out_of_sequence"),
    "an oversize header": ("channel.sendall((1 << 30).to_bytes(4, 'big'))", "oversize"),
    "an oversize hello": ("channel.sendall(frames.encode({'type': 'hello', 'x': 'x' * 70000}))", "oversize"),
    "garbage": ("channel.sendall(b'\\0\\0\\0\\4\\xff\\xfe{]')", "malformed"),
    "duplicate keys": ('channel.sendall(frames.frame(b\'{"type":"hello","type":"hello"}\'))', "malformed"),
    "a number that is none": ('channel.sendall(frames.frame(b\'{"type":"hello","x":NaN}\'))', "malformed"),
    "an array": ("channel.sendall(frames.frame(b'[1]'))", "malformed"),
    "a lone surrogate": ('channel.sendall(frames.frame(b\'{"type":"hello","x":"\\\\ud800"}\'))', "malformed"),
    "deep nesting": (
        "channel.sendall(frames.frame(b'{\"type\":\"hello\",\"x\":' + b'[' * 40 + b']' * 40 + b'}'))",
        "malformed",
    ),
    "bottomless nesting": ("channel.sendall(frames.frame(b'[' * 60000))", "malformed"),
    "half a message": ("channel.sendall(b'\\0\\0\\0\\x20{')", "eof"),
    "nothing": ("pass", "eof"),
}


@check
async def every_fault_on_the_channel_ends_the_run(bench: Bench) -> None:
    """Before the inputs: each fault is named, and only valid messages ever arrive."""
    for name, (program, kind) in _FAULTY.items():
        outcome = await bench.run(program + "\nif " + repr(kind) + " != 'eof': channel.recv(1)\n")
        if kind == "out_of_sequence" and not outcome.fault:
            raise AssertionError(f"{name}: went through: {outcome.result}")
        assert outcome.fault == kind, f"{name}: {outcome}"
        assert outcome.report is not None and outcome.report.cause in ("channel", "exit", "signal"), (
            f"{name}: {outcome.report}"
        )


@check
async def nothing_may_follow_the_result(bench: Bench) -> None:
    """A second result, or one byte after it, and the result does not count."""
    for after in ("result(x=2)", "channel.sendall(b'x')", "send(type='hello')"):
        outcome = await bench.run(f"begin()\nresult(x=1)\n{after}\nimport time\ntime.sleep(600)\n")
        assert outcome.fault == "out_of_sequence", f"{after}: {outcome}"


@check
async def a_job_that_lingers_after_its_result_is_heard(bench: Bench) -> None:
    """Its result counts though it does not hang up; its voice is gone."""
    async with bench.running("begin()\nresult(x=1)\nimport time\ntime.sleep(600)\n") as run:
        assert (await converse(run, {}))["x"] == 1


@check
async def a_large_result_arrives_whole(bench: Bench) -> None:
    """10 MiB each way."""
    program = "inputs = begin()\nresult(back=inputs['data'])\n"
    found = await bench.ask(program, {"data": "ü" * (5 * MIB)})
    assert found["back"] == "ü" * (5 * MIB)


@check
async def go_belongs_to_apply_alone(bench: Bench) -> None:
    """In apply the result comes only after ``go``; elsewhere ``go`` cannot even be sent."""
    program = "begin()\ngo = frames.read_frame(channel)\nresult(permit=go['permit'])\n"
    async with bench.running(program, stage="apply") as run:
        await run.channel.receive()
        await run.channel.send({"type": "inputs"})
        await run.channel.receive()
        await run.channel.send({"type": "go", "permit": "p"})
        assert (await run.channel.receive())["permit"] == "p"
    early = await bench.run("begin()\nresult(x=1)\nchannel.recv(1)\n", stage="apply")
    assert early.fault == "out_of_sequence"
    async with bench.running("begin()\nchannel.recv(1)\n") as run:
        await run.channel.receive()
        await run.channel.send({"type": "inputs"})
        await run.channel.receive()
        try:
            await run.channel.send({"type": "go"})
        except ChannelError as error:
            assert error.kind == "out_of_sequence"
        else:
            raise AssertionError("go was sent in a plan stage")


@check
async def destroy_may_be_called_at_any_time(bench: Bench) -> None:
    """Of a live one, again, twice at once, and of one that never was."""
    run = await bench.provider.start(bench.spec("begin()\nimport time\ntime.sleep(600)\n"))
    first, second = await asyncio.gather(bench.provider.destroy(run.id), bench.provider.destroy(run.id))
    third = await bench.provider.destroy(run.id)
    never = await bench.provider.destroy(secrets.token_hex(16))
    assert all(proof.torn_down and proof.checks for proof in (first, second, third, never))
    report = await run.wait()
    assert report.cause == "destroyed"


@check
async def reap_spares_what_is_kept(bench: Bench) -> None:
    """Everything else goes."""
    async with bench.running("begin()\nresult(x=1)\n") as kept:
        other = await bench.provider.start(bench.spec("begin()\nimport time\ntime.sleep(600)\n"))
        proofs = await bench.provider.reap([kept.id])
        assert [proof.sandbox_id for proof in proofs] == [other.id]
        assert all(proof.torn_down for proof in proofs)
        assert (await converse(kept, {}))["x"] == 1


@check
async def many_run_at_once(bench: Bench) -> None:
    """Eight together, each with its own result."""
    program = "inputs = begin()\nresult(number=inputs['number'])\n"
    found = await asyncio.gather(*(bench.ask(program, {"number": number}) for number in range(8)))
    assert [each["number"] for each in found] == list(range(8))


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


def _limits(**changes: Any) -> SandboxLimits:
    return SandboxLimits(**{**vars(LIMITS), **changes})
