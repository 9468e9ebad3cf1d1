# ruff: noqa: S101 - a contract suite asserts, and names paths inside the sandbox
"""Attempts to get out of the sandbox by every door a kernel has, each with a control outside; and what could be left behind on a shared path."""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Final

from lockgate.runner.sandbox.port import Bind
from lockgate.runner.sandbox.syscalls import SANDBOX
from lockgate.testing.sandbox.bench import Bench, check
from lockgate.testing.sandbox.probes import ANYONE_OUTSIDE, PATHS, PROBES, RAW, TOLD_APART

_INSIDE: Final = (
    PROBES + "\ninputs = begin()\ngiven['job'] = os.getpid()\nresult(found=run_probes(inputs | {'job': os.getpid()}))\n"
)
_OUTSIDE: Final = PROBES + "\nprint(json.dumps(run_probes(json.loads(sys.argv[1]) | {'job': os.getpid()})))\n"
_IPC_CREATE: Final = 0o1666
_IPC_REMOVE: Final = 0
_OUTSIDE_SECONDS: Final = 120


@contextmanager
def _things_of_the_host() -> Iterator[dict[str, Any]]:
    """What a sandbox must not find: an abstract socket, shared memory of both kinds, semaphores, a message queue, a process with a group."""
    libc = ctypes.CDLL(None, use_errno=True)
    key, name = secrets.randbits(30) + 1, "lockgate-" + secrets.token_hex(8)
    with ExitStack() as left:
        listener = left.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind("\0" + name)
        listener.listen()
        for make, remove, arguments in (
            ("shmget", "shmctl", (4096, _IPC_CREATE)),
            ("semget", "semctl", (1, _IPC_CREATE)),
            ("msgget", "msgctl", (_IPC_CREATE,)),
        ):
            made = getattr(libc, make)(key, *arguments)
            assert made >= 0, f"{make}: {os.strerror(ctypes.get_errno())}"
            between = (0,) if remove == "semctl" else ()
            left.callback(partial(getattr(libc, remove), made, *between, _IPC_REMOVE, 0))
        shared = left.enter_context(tempfile.NamedTemporaryFile(dir="/dev/shm"))
        process = left.enter_context(subprocess.Popen(["/bin/sleep", "600"], process_group=0))
        left.callback(process.kill)
        yield {"abstract": name, "shared_key": key, "shared_file": shared.name, "outside": process.pid}


@check
async def no_door_leads_out(bench: Bench) -> None:
    """Namespaces, keyrings, tracing, rings, terminals, setuid files, devices, IPC, signals, limits, and every privileged system call."""
    numbers = SANDBOX[os.uname().machine]
    raw = {name: arguments for name, arguments in RAW.items() if name in numbers}
    with _things_of_the_host() as things, tempfile.TemporaryDirectory() as place:
        given = {"numbers": numbers, "raw": raw, "paths": list(PATHS), "scratch": "/work"} | things
        inside: dict[str, str] = (await bench.ask(_INSIDE, given))["found"]
        outside = _control(given | {"raw": {name: raw[name] for name in TOLD_APART}, "paths": [], "scratch": place})
    done = [name for name, error in inside.items() if not error]
    assert done == [], f"done from inside: {done}"
    reached = {name: inside[name] for name in raw if inside[name] not in ("EPERM", "ENOSYS")}
    assert reached == {}, f"system calls that the kernel looked into: {reached}"
    unproven = [name for name in ANYONE_OUTSIDE if outside[name]]
    assert unproven == [], (
        f"not possible outside either, so nothing is proven: { {name: outside[name] for name in unproven} }"
    )
    assert [name for name in TOLD_APART if outside[name] in ("EPERM", "ENOSYS")] == [], outside


def _control(given: dict[str, Any]) -> dict[str, str]:
    """The same probes by the suite's own user, in a process and session that end with them."""
    command = [sys.executable, "-I", "-S", "-B", "-c", _OUTSIDE, json.dumps(given)]
    ran = subprocess.run(
        command, capture_output=True, text=True, timeout=_OUTSIDE_SECONDS, start_new_session=True, check=False
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    found: dict[str, str] = json.loads(ran.stdout)
    return found


@check
async def knows_only_descriptors_of_its_own(bench: Bench) -> None:
    """Not through the first process of its own namespace either: nothing there names a file, socket or device of the host."""
    program = """
begin()
found = {}
for pid in filter(str.isdigit, os.listdir("/proc")):
    try: names = os.listdir(f"/proc/{pid}/fd")
    except OSError: continue
    for name in names:
        try: found[f"{pid}/{name}"] = os.readlink(f"/proc/{pid}/fd/{name}")
        except OSError: pass
result(found=found, job=os.getpid(), channel=channel.fileno())
"""
    found = await bench.ask(program)
    own = {f"{found['job']}/{number}" for number in (0, 1, 2, found["channel"])}
    strange = {
        place: target
        for place, target in found["found"].items()
        if place not in own and not target.startswith(("/dev/null", "pipe:", "anon_inode:[event", "/proc"))
    }
    assert strange == {}, strange
    outputs = {target for place, target in found["found"].items() if target.startswith("pipe:")}
    assert len(outputs) == 1, f"more pipes than its output: {outputs}"


@check
async def a_shared_path_keeps_no_trap(bench: Bench) -> None:
    """Nothing on a writable path gives rights to who finds it later, nor leads what clears up after the run astray."""
    shared, victim = bench.shown("shared"), bench.shown("victim")
    (victim / "kept").write_text("kept")
    secret = bench.shown("sealed") / "secret"
    secret.write_text("sealed")
    secret.chmod(0o644)
    shared.chmod(0o777)
    program = """
inputs = begin()
import shutil
os.umask(0)
os.chdir("/work/outbox")
tries = {
    "link to what is sealed": (os.link, "/work/sealed/secret", "stolen"),
    "link to a program": (os.link, "/usr/bin/env", "program"),
    "device": (os.mknod, "disk", 0o60666, os.makedev(8, 0)),
    "setuid copy": (lambda: (shutil.copyfile("/bin/sh", "sh"), os.chmod("sh", 0o6755)),),
    "setuid at once": (lambda: os.close(os.open("sh2", os.O_CREAT | os.O_WRONLY, 0o6755)),),
    "setuid by rename": (lambda: (open("sh3", "x"), os.chmod("sh3", 0o4755), os.rename("sh3", "sh4")),),
    "capabilities": (lambda: os.setxattr("sh", "security.capability", bytes(20)),),
}
done = [name for name, (call, *given) in tries.items() if not failed(call, *given)]
os.symlink(inputs["victim"], "victim")
os.symlink("/", "root")
os.symlink("loop", "loop")
os.mkfifo("pipe")
socket.socket(socket.AF_UNIX).bind("socket")
deep = "."
for _ in range(200):
    deep += "/d"
    os.mkdir(deep)
result(done=done)
"""
    binds = (Bind(shared, "/work/outbox", writable=True), Bind(secret.parent, "/work/sealed"))
    if bench.copies:
        await bench.refused(program, binds=binds)
        return
    found = await bench.ask(program, {"victim": str(victim)}, binds=binds)
    assert found["done"] == []
    for directory, _, files in os.walk(shared):
        for name in files:
            mode = os.lstat(os.path.join(directory, name)).st_mode  # noqa: PTH118
            assert not mode & (stat.S_ISUID | stat.S_ISGID), name
            assert not stat.S_ISBLK(mode) and not stat.S_ISCHR(mode), name
    assert (victim / "kept").read_text() == "kept" and secret.read_text() == "sealed"
    shutil.rmtree(shared)
    assert (victim / "kept").exists()


@check
async def a_crash_leaves_no_core(bench: Bench) -> None:
    """Not on a shared path, and not by the host's own collector: the limit that stops both cannot be changed."""
    shared = bench.shown("crash")
    shared.chmod(0o777)
    program = """
inputs = begin()
import resource, signal
os.chdir(inputs["place"])
before = resource.getrlimit(resource.RLIMIT_CORE)
for asked in ((0, 0), (1 << 20, 1 << 20), (resource.RLIM_INFINITY, resource.RLIM_INFINITY)):
    failed(resource.setrlimit, resource.RLIMIT_CORE, asked)
    try: resource.prlimit(0, resource.RLIMIT_CORE, asked)
    except (OSError, ValueError): pass
ends = []
for number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGQUIT):
    pid = os.fork()
    if pid == 0:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    ends.append(os.waitpid(pid, 0)[1])
result(before=before, after=resource.getrlimit(resource.RLIMIT_CORE), cores=[os.WCOREDUMP(end) for end in ends], left=os.listdir("."))
"""
    binds = () if bench.copies else (Bind(shared, "/work/outbox", writable=True),)
    found = await bench.ask(program, {"place": "/work" if bench.copies else "/work/outbox"}, binds=binds)
    assert found["left"] == []
    assert found["after"] == found["before"] and found["after"][1] in (0, 1), found
    assert found["cores"] == [False, False, False]
    assert list(shared.iterdir()) == []
