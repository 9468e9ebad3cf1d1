"""How a stage in a pod ends: by itself, by a limit, by an order, by a cut line; each time all that ran is gone, and what is known is told."""

import asyncio
import hashlib
import os
import re
import signal
from pathlib import Path

import pytest
from tests.pods import UID

from lockgate.contract import podchannel as pod
from lockgate.runner.sandbox.network.delivery import MOVED_OUT
from lockgate.runner.sandbox.port import Bind, ChannelError, InjectedFile, SandboxLimits

STATE = "/work/state/terraform.tfstate"
STUBBORN = """
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
hello(); ready()
"""
LEAVES_MANY = (
    STUBBORN
    + """
for _ in range(20):
    if os.fork() == 0:
        os.setsid()
        while True: time.sleep(3600)
result()
channel.close()
"""
)


@pytest.fixture
def lent(reachable):
    state = reachable / "state.json"
    state.write_bytes(b'{"serial": 1}')
    return Bind(state, STATE, writable=True)


async def test_a_lent_state_goes_out_and_comes_back_as_the_job_left_it(loopback, lent):
    program = f"hello(); ready(); was = open('{STATE}').read(); open('{STATE}', 'w').write('new'); result(was=was)"
    async with loopback.stage(program, binds=(lent,)) as stage:
        await stage.run()
        assert lent.source.read_bytes() == MOVED_OUT, "while it is out, nobody takes what is here for the state"
        assert (await stage.converse())["was"] == '{"serial": 1}'
        assert await stage.host.taken_back() == {STATE: b"new"}
        assert lent.source.read_bytes() == b"new"


async def test_a_state_that_was_out_when_the_pod_died_does_not_come_back_as_the_old_one(loopback, lent):
    async with loopback.stage("hello(); ready(); time.sleep(3600)", binds=(lent,)) as stage:
        process = await stage.run()
        assert (await stage.host.channel.receive())["type"] == "hello"
        process.kill()
        with pytest.raises(ChannelError) as lost:
            await stage.host.taken_back()
        assert lost.value.kind == "eof"
        assert await stage.host.ended() is None
        assert lent.source.read_bytes() == MOVED_OUT


async def test_a_state_that_could_not_be_placed_has_never_left(loopback, lent):
    async with loopback.stage(binds=(lent,)) as stage:
        process = stage.start("--ro-bind", "/usr", "/work")
        await stage.host.expect(UID, "127.0.0.1")
        with pytest.raises(ChannelError) as refused:
            await stage.host.deliver()
        assert refused.value.kind == "not_placed"
        assert "Read-only file system" in refused.value.detail
        assert lent.source.read_bytes() == b'{"serial": 1}'
        assert process.wait() == 70


async def test_a_state_is_back_when_its_pod_dies_before_a_job_was_begun(loopback, lent):
    """Nobody was told to go, so what holds is what held before."""
    async with loopback.stage(binds=(lent,)) as stage:
        process = stage.start()
        await stage.host.expect(UID, "127.0.0.1")
        returned = stage.host._returned
        move_out = returned.move_out

        def move_out_and_die() -> None:
            move_out()
            process.kill()
            process.wait()

        returned.move_out = move_out_and_die
        with pytest.raises(ChannelError) as lost:
            await stage.host.deliver()
        assert lost.value.kind == "eof"
        assert lent.source.read_bytes() == b'{"serial": 1}'


async def test_why_a_pod_gives_up_is_heard_however_much_is_still_on_its_way_to_it(loopback, lent):
    lent.source.write_bytes(bytes(24 << 20))
    async with loopback.stage(binds=(lent,)) as stage:
        process = stage.start("--ro-bind", "/usr", "/work")
        await stage.host.expect(UID, "127.0.0.1")
        with pytest.raises(ChannelError) as refused:
            await stage.host.deliver()
        assert refused.value.kind == "not_placed"
        assert process.wait() == 70


async def test_a_link_in_place_of_the_state_is_not_followed_back(loopback, lent):
    program = f"hello(); ready(); os.unlink('{STATE}'); os.symlink('/etc/passwd', '{STATE}'); result()"
    async with loopback.stage(program, binds=(lent,)) as stage:
        await stage.run()
        await stage.converse()
        with pytest.raises(ChannelError):
            await stage.host.taken_back()
        assert (await stage.host.ended()).cause == "exit"
        assert lent.source.read_bytes() == MOVED_OUT


async def test_an_exit_code_and_a_signal_are_told_with_the_end_of_the_output(loopback):
    async with loopback.stage("print('x' * 100_000); print('the last line', flush=True); sys.exit(3)") as stage:
        await stage.run()
        with pytest.raises(ChannelError) as silent:
            await stage.host.channel.receive()
        assert silent.value.kind == "eof"
        report = await stage.host.ended()
        assert (report.cause, report.exit_code, report.signal, report.output_bytes) == ("exit", 3, None, 100_015)
        assert report.output_tail.endswith(b"x\nthe last line\n")
        assert len(report.output_tail) == 8192
    async with loopback.stage("os.kill(os.getpid(), signal.SIGSEGV)") as stage:
        await stage.run()
        report = await stage.host.ended()
        assert (report.cause, report.exit_code, report.signal) == ("signal", 139, signal.SIGSEGV)


async def test_a_job_that_cannot_be_started_says_what_is_missing(loopback):
    async with loopback.stage(argv=("/lockgate/no/such/program",)) as stage:
        await stage.run()
        report = await stage.host.ended()
        assert (report.cause, report.exit_code) == ("exit", 127)
        assert report.output_tail.endswith(b"/lockgate/no/such/program: No such file or directory\n")


async def test_what_a_job_leaves_behind_is_gone_with_it(loopback):
    async with loopback.stage(LEAVES_MANY) as stage:
        process = await stage.run()
        await stage.converse()
        report = await stage.host.ended()
        assert (report.cause, report.exit_code) == ("exit", 0)
        assert process.wait() == 0


async def test_a_job_that_forks_as_fast_as_it_can_is_gone_all_the_same(loopback):
    """A chain: each process makes the next and ends, so that there are few at any time and never the same."""
    program = "hello(); ready()\nif os.fork():\n    result(); os._exit(0)\nwhile True:\n    if os.fork(): os._exit(0)"
    async with loopback.stage(program) as stage:
        process = await stage.run()
        await stage.converse()
        assert (await stage.host.ended()).exit_code == 0
        assert process.wait() == 0


async def test_a_job_beyond_its_time_is_ended_and_said_to_be(loopback):
    async with loopback.stage(STUBBORN + "time.sleep(3600)", limits=SandboxLimits(wall_seconds=1)) as stage:
        process = await stage.run()
        report = await stage.host.ended()
        assert (report.cause, report.signal) == ("wall", signal.SIGKILL)
        assert process.wait() == 0


async def test_endless_computing_ends_with_its_cpu_time(loopback):
    limits = SandboxLimits(wall_seconds=120, cpu_seconds=1)
    async with loopback.stage("hello(); ready()\nwhile True: pass", limits=limits) as stage:
        await stage.run()
        assert (await stage.host.channel.receive())["type"] == "hello"
        await stage.host.channel.send({"type": "inputs"})
        report = await stage.host.ended()
        assert report.cause in ("cpu", "signal")
        assert report.signal in (signal.SIGXCPU, signal.SIGKILL)


async def test_a_full_disk_is_the_jobs_own_trouble(loopback):
    program = """
hello(); ready(); seen = []
for place in ("/tmp", "/work", "/dev/shm"):
    try:
        with open(place + "/full", "wb") as f:
            while True: f.write(bytes(1 << 20)); f.flush()
    except OSError as error:
        seen.append(error.strerror)
result(seen=seen)
"""
    async with loopback.stage(program, limits=SandboxLimits(disk_bytes=4 << 20, wall_seconds=120)) as stage:
        process = await stage.run()
        assert (await stage.converse())["seen"] == ["No space left on device"] * 3
        assert (await stage.host.ended()).exit_code == 0
        assert process.wait() == 0


async def test_sigterm_ends_a_job_that_ignores_it_and_its_state_still_comes(loopback, lent):
    program = STUBBORN + f"open('{STATE}', 'w').write('half way'); time.sleep(3600)"
    async with loopback.stage(program, binds=(lent,)) as stage:
        process = await stage.run()
        channel = stage.host.channel
        await channel.receive()
        await channel.send({"type": "inputs"})
        await channel.receive()
        process.terminate()
        assert (await stage.host.ended()).cause == "destroyed"
        assert (await stage.host.taken_back())[STATE] in (b"half way", b'{"serial": 1}', b"")
        assert process.wait() == 143, "of a pod that ends with 0 its node forgets that it evicted it"


async def test_sigterm_before_the_pod_was_let_in_ends_it_where_it_stands(loopback):
    """It waits for a runner that has not heard of it from the API yet."""
    async with loopback.stage() as stage:
        with loopback.network.listen() as listener:
            process = stage.start(**{pod.ADDRESS_VARIABLE: f"127.0.0.1:{listener.getsockname()[1]}"})
            with (await asyncio.to_thread(listener.accept))[0]:
                process.terminate()
                assert process.wait() == 143


async def test_an_order_to_stop_ends_the_job_and_its_last_words_still_come(loopback):
    async with loopback.stage(STUBBORN + "print('busy', flush=True); time.sleep(3600)") as stage:
        process = await stage.run()
        channel = stage.host.channel
        await channel.receive()
        await channel.send({"type": "inputs"})
        await channel.receive()
        await stage.host.stop("wall")
        report = await stage.host.ended()
        assert (report.cause, report.signal) == ("wall", signal.SIGKILL)
        assert process.wait() == 0


async def test_a_job_that_breaks_the_channels_rules_is_ended_by_it(loopback):
    async with loopback.stage("channel.sendall(b'\\0\\0\\0\\2{]'); time.sleep(3600)") as stage:
        process = await stage.run()
        with pytest.raises(ChannelError) as broken:
            await stage.host.channel.receive()
        assert broken.value.kind == "malformed"
        assert (await stage.host.ended()).cause == "channel"
        assert process.wait() == 0


async def test_a_runner_that_hangs_up_leaves_nothing_running(loopback):
    async with loopback.stage(STUBBORN + "time.sleep(3600)") as stage:
        process = await stage.run()
        await stage.host.channel.receive()
        await stage.host.close()
        assert process.wait() == 70


async def test_a_dead_nursery_is_an_honest_eof_and_the_next_stage_has_a_new_one(loopback):
    async with loopback.stage(STUBBORN + "time.sleep(3600)") as stage:
        process = await stage.run()
        await stage.host.channel.receive()
        os.kill(loopback.hosts._nursery._process.pid, signal.SIGKILL)
        with pytest.raises(ChannelError) as cut:
            await stage.host.channel.receive()
        assert cut.value.kind == "eof"
        assert process.wait() == 70
    async with loopback.stage() as stage:
        await stage.run()
        assert (await stage.converse())["type"] == "result"


async def test_a_closed_host_leaves_no_descriptor_and_no_process(loopback):
    async with loopback.stage() as stage:
        await stage.run()
        await stage.converse()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        async with loopback.stage() as stage:
            await stage.run()
            await stage.converse()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    nursery = loopback.hosts._nursery._process.pid
    assert Path(f"/proc/{nursery}/task/{nursery}/children").read_text() == ""


PEAK = re.compile(r"VmHWM:\s+(\d+) kB")


def peak(pid: int) -> int:
    return int(PEAK.findall(Path(f"/proc/{pid}/status").read_text())[0]) * 1024


async def test_a_large_plan_streams_and_neither_end_ever_holds_it(loopback):
    size = 64 << 20
    plan = os.urandom(1 << 20) * 64
    program = "said = hello(); d = hashlib.sha256(open('/lockgate-plan/plan','rb').read()).hexdigest(); ready(); result(digest=d)"
    async with loopback.stage(program, files=(InjectedFile("/lockgate-plan/plan", plan),)) as stage:
        process = stage.start()
        await stage.host.expect(UID, "127.0.0.1")
        await stage.host.arrived()
        nursery = loopback.hosts._nursery._process.pid
        ends = [process.first(), *map(int, Path(f"/proc/{nursery}/task/{nursery}/children").read_text().split())]
        before = [peak(pid) for pid in ends]
        await stage.host.deliver()
        grown = [now - was for now, was in zip([peak(pid) for pid in ends], before, strict=True)]
        assert max(grown) < size / 8
        said = await stage.converse()
    assert said["digest"] == hashlib.sha256(plan).hexdigest()
