# ruff: noqa: S101, S108 - a contract suite asserts, and names paths inside the sandbox
"""Time, memory, processes, disk and output end where the limits say; nothing outlives a run."""

from __future__ import annotations

import asyncio
import secrets

from lockgate.testing.sandbox.bench import (
    LIMITS,
    Bench,
    check,
    host_processes,
    limits,
)


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
    outcome = await bench.run("begin()\nwhile True: pass\n", limits=limits(cpu_seconds=1))
    assert outcome.fault == "eof"
    assert outcome.report is not None and outcome.report.cause in ("cpu", "signal"), outcome.report


@check
async def a_silent_job_ends_at_the_wall(bench: Bench) -> None:
    """A job that hangs without a report is ended by the clock, and the report says so."""
    outcome = await bench.run("begin()\nimport time\nwhile True: time.sleep(60)\n", limits=limits(wall_seconds=1.5))
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
async def empty_files_are_counted_too(bench: Bench) -> None:
    """A file without content takes memory of the kernel that no disk size counts; whatever ends it, it ends, and is gone soon."""
    program = """
inputs = begin()
count = 0
for place in ("/work", "/tmp", "/dev/shm"):
    try:
        for number in range(inputs["most"]):
            os.close(os.open(f"{place}/{number}", os.O_CREAT | os.O_WRONLY))
            count += 1
    except OSError: pass
result(count=count)
"""
    outcome = await bench.run(program, {"most": 100_000}, limits=limits(inodes=20_000, cpu_seconds=60))
    assert outcome.report is not None
    if outcome.fault:
        assert outcome.report.cause in ("disk", "oom"), outcome.report
    else:
        assert outcome.result["count"] <= 3 * 20_000


@check
async def what_resists_its_end_is_gone(bench: Bench) -> None:
    """Stopped processes, one that is another one every moment, one whose first thread has ended, and a swarm deaf to every signal."""
    canary = secrets.token_hex(16)
    program = """
inputs = begin()
import signal, threading, time
tail = [sys.executable, "-I", "-S", "-c"]
def spawn(code):
    if os.fork() == 0:
        channel.close()
        os.setsid()
        os.execv(sys.executable, [*tail, "import ctypes, os, signal, threading, time\\n" + code, inputs["canary"]])
spawn("os.kill(os.getpid(), signal.SIGSTOP)")
spawn("threading.Thread(target=time.sleep, args=(600,)).start()\\nctypes.CDLL(None).syscall(60 if os.uname().machine == 'x86_64' else 93, 0)")
for _ in range(4): spawn("[signal.signal(n, signal.SIG_IGN) for n in (1, 2, 3, 13, 15, 20, 21, 22)]\\ntime.sleep(600)")
spawn("while True:\\n try:\\n  if os.fork(): os._exit(0)\\n except OSError: pass\\n time.sleep(0.001)")
channel.recv(1)
"""
    async with bench.running(program) as run:
        await run.channel.receive()
        await run.channel.send({"type": "inputs", "canary": canary})
        await run.channel.receive()
        while len(host_processes(canary)) < 6:  # noqa: ASYNC110 - no event tells of a stranger's process
            await asyncio.sleep(0.01)
    assert host_processes(canary) == []
