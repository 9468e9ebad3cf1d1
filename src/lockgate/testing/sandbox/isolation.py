# ruff: noqa: S101 - a contract suite asserts, and names paths inside the sandbox
"""Nothing of the host or of another run can be seen, reached, changed or kept; tried from inside."""

from __future__ import annotations

import os
import secrets
import socket
import stat

from lockgate.runner.sandbox.port import (
    Bind,
    InjectedFile,
)
from lockgate.testing.sandbox.bench import (
    Bench,
    check,
    converse,
    host_processes,
)


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
    assert set(found["opened"]) <= set(bench.shows)
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
    assert set(found["links"]) - set(bench.shows) == {"lo"}


@check
async def a_read_only_source_stays_as_it_is(bench: Bench) -> None:
    """Writing, appending, removing, renaming, linking, changing mode: all refused, and the host's file is untouched.

    Of a copy only the latter: it is this sandbox's own, and the next one gets another.
    """
    source = bench.shown("source")
    (source / "main.yml").write_text("approved")
    source.chmod(0o777)
    (source / "main.yml").chmod(0o666)
    program = """
begin()
path = "/work/source/main.yml"
tries = {"write": (open, path, "w"), "append": (open, path, "a"), "remove": (os.unlink, path), "chmod": (os.chmod, path, 0),
         "rename": (os.rename, path, path + "x"), "new": (open, path + "y", "w"), "link": (os.link, path, path + "z")}
text = open(path).read()
result(done=[name for name, (call, *given) in tries.items() if not failed(call, *given)], text=text)
"""
    for _ in range(2):
        found = await bench.ask(program, binds=(Bind(source, "/work/source"),))
        assert found["text"] == "approved"
        assert bench.copies or found["done"] == []
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
mount = [line.split(" - ")[1].split()[0] for line in open("/proc/self/mountinfo") if line.split()[4] in (path, os.path.dirname(path))]
result(text=open(path).read(), mode=mode, mount=mount, changed=not failed(open, path, "r+"), removed=not failed(os.unlink, path))
channel.recv(1)
"""
    async with bench.running(program, files=(InjectedFile(path, secret.encode()),)) as run:
        found = await converse(run, {})
        assert host_processes(secret) == []
    assert found["text"] == secret
    assert stat.filemode(found["mode"])[1:] == "r--------"
    assert found["mount"] == ["tmpfs"]
    assert (found["changed"], found["removed"]) == (False, bench.copies)


@check
async def tools_may_do_with_their_own_files_what_tools_do(bench: Bench) -> None:
    """Make a directory in scratch space and open it up, as Ansible does by the program chmod; run in the locale that the environment names."""
    program = """
import locale, subprocess
begin()
kept = {}
for place in ("/tmp", "/work", "/dev/shm"):
    os.makedirs(place + "/own/below", 0o700)
    kept[place] = subprocess.run(["chmod", "u+rwx", place + "/own", place + "/own/below"]).returncode
result(kept=kept, locale=failed(locale.setlocale, locale.LC_ALL, ""))
"""
    found = await bench.ask(program)
    assert set(found["kept"].values()) == {0}, found
    assert found["locale"] == ""
