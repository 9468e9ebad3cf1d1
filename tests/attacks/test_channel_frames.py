"""A pod that was let in, and then says what no pod of ours would: each ends the run with a name, bounded in size and time."""

import asyncio
import base64
import contextlib
import hashlib
import json
from dataclasses import replace

import pytest
from tests.pods import PATIENT, UID, all_that_comes, arrival, frame

from lockgate.contract import podchannel as pod
from lockgate.runner.sandbox.network.delivery import MOVED_OUT
from lockgate.runner.sandbox.port import Bind, ChannelError, InjectedFile

END = {"cause": "exit", "exit_code": 0, "signal": None, "output_bytes": 0, "tail": ""}
MIB = 1 << 20
LENT = "/work/state/terraform.tfstate"


@pytest.fixture
def lent(reachable):
    """A state that is lent to the stage."""
    state = reachable / "state"
    state.write_bytes(b"as lent")
    return Bind(state, LENT, writable=True)


def document(tag, **content):
    return frame(tag, json.dumps(content).encode())


def a_file(target, *chunks, digest=None):
    told = digest or hashlib.sha256(b"".join(chunks)).digest()
    return (
        document(pod.FILE, target=target)
        + b"".join(frame(pod.CONTENT, one) for one in chunks)
        + frame(pod.DIGEST, told)
    )


FIRST_WORDS = {
    "a frame without a tag": (b"\0\0\0\0\0", "oversize"),
    "a frame of four gigabytes": (b"\xff\xff\xff\xffA", "oversize"),
    "no arrival": (frame(pod.PLACED), "out_of_sequence"),
    "no JSON": (frame(pod.ARRIVAL, b"\xff\xfe"), "malformed"),
    "a key twice": (frame(pod.ARRIVAL, b'{"version":1,"version":1}'), "malformed"),
    "no object": (frame(pod.ARRIVAL, b"[]"), "malformed"),
    "nested deeply": (frame(pod.ARRIVAL, b"[" * 60_000), "malformed"),
    "another release": (arrival(version=pod.VERSION + 1), "malformed"),
    "an older release": (arrival(version=pod.VERSION - 1), "malformed"),
    "no uid": (arrival(pod=None), "malformed"),
    "a uid of many lines": (arrival(pod="a\nb"), "malformed"),
    "checks that are no booleans": (arrival(checks=dict.fromkeys(pod.CHECKS, 1)), "malformed"),
    "very many checks": (arrival(checks={str(number): True for number in range(1000)}), "malformed"),
    "files of no digest": (arrival(had=["../../tool"]), "malformed"),
    "very many files": (arrival(had=["0" * 64] * (pod.MAX_HAD + 1)), "malformed"),
    "files by name": (arrival(had={"tofu": "0" * 64}), "malformed"),
    "its own words": (frame(pod.REFUSED, b"\x1b[31mno\n"), "not_placed"),
    "half of a frame": (arrival()[:20], "eof"),
}


@pytest.mark.parametrize("case", FIRST_WORDS)
async def test_a_first_word_out_of_order_ends_the_run(loopback, case):
    said, kind = FIRST_WORDS[case]
    async with loopback.stage() as stage:
        await stage.host.expect(UID, "127.0.0.1")
        with stage.intrude() as hostile:
            hostile.sendall(stage.host.ticket + said)
            if kind == "eof":
                hostile.close()
            with pytest.raises(ChannelError) as refused:
                await stage.host.arrived()
            assert refused.value.kind == kind
            assert "\x1b" not in refused.value.detail
            if kind != "eof":
                assert all_that_comes(hostile) == b""


@pytest.mark.parametrize("loopback", [replace(PATIENT, arrival=2)], indirect=True, ids=[""])
async def test_a_pod_that_shows_its_ticket_and_says_no_more_ends_the_run_in_time(loopback):
    async with loopback.stage() as stage:
        await stage.host.expect(UID, "127.0.0.1")
        with stage.intrude() as hostile:
            hostile.sendall(stage.host.ticket + arrival()[:-1])
            with pytest.raises(ChannelError) as refused:
                await stage.host.arrived()
            assert refused.value.kind == "slow"


PLACED = frame(pod.PLACED)
LATER_WORDS = {
    "a job before its files": (frame(pod.JOB, b"x"), "out_of_sequence"),
    "a word nobody knows": (PLACED + frame(b"?"), "out_of_sequence"),
    "an arrival again": (PLACED + arrival(), "out_of_sequence"),
    "more of a job that has hung up": (PLACED + frame(pod.HUNG_UP) + frame(pod.JOB, b"x"), "out_of_sequence"),
    "content of no file": (PLACED + frame(pod.CONTENT, b"x"), "out_of_sequence"),
    "the end within a file": (PLACED + document(pod.FILE, target=LENT) + document(pod.ENDED, **END), "out_of_sequence"),
    "a file without a target": (PLACED + document(pod.FILE, target=1), "malformed"),
    "a short digest": (PLACED + document(pod.FILE, target=LENT) + frame(pod.DIGEST, b"short"), "malformed"),
    "a file that nobody lent": (PLACED + a_file("/etc/passwd", b"x"), "malformed"),
    "an end without a tail": (PLACED + document(pod.ENDED, cause="exit"), "malformed"),
    "an end by an unknown cause": (PLACED + document(pod.ENDED, **END | {"cause": "oom"}), "malformed"),
    "an exit code like no other": (PLACED + document(pod.ENDED, **END | {"exit_code": True}), "malformed"),
    "a tail that is no base64": (PLACED + document(pod.ENDED, **END | {"tail": "*"}), "malformed"),
    "a long tail": (PLACED + document(pod.ENDED, **END | {"tail": base64.b64encode(bytes(9000)).decode()}), "oversize"),
    "a frame too large": (PLACED + (MIB).to_bytes(4, "big") + pod.JOB, "oversize"),
}


@pytest.mark.parametrize("case", LATER_WORDS)
async def test_a_later_word_out_of_order_ends_the_run(loopback, lent, case):
    said, kind = LATER_WORDS[case]
    async with loopback.stage(binds=(lent,)) as stage:
        await stage.host.expect(UID, "127.0.0.1")
        with stage.intrude() as hostile:
            hostile.sendall(stage.host.ticket + arrival())
            await stage.host.arrived()
            hostile.sendall(said)
            await asyncio.to_thread(all_that_comes, hostile)
            with pytest.raises(ChannelError) as refused:
                await stage.host.channel.receive()
            assert refused.value.kind == kind
            assert await stage.host.ended() is None


JOBS_WORDS = {
    "no hello": (b"\0\0\0\x02{}", "out_of_sequence"),
    "no JSON": (b"\0\0\0\x02{]", "malformed"),
    "sixteen megabytes and one": (b"\x01\0\0\x01", "oversize"),
}


@pytest.mark.parametrize("case", JOBS_WORDS)
async def test_what_a_job_says_is_read_by_its_warden_alone_and_named_as_ever(loopback, case):
    said, kind = JOBS_WORDS[case]
    async with loopback.stage() as stage:
        await stage.host.expect(UID, "127.0.0.1")
        with stage.intrude() as hostile:
            hostile.sendall(stage.host.ticket + arrival() + PLACED + frame(pod.JOB, said))
            with pytest.raises(ChannelError) as refused:
                await stage.host.channel.receive()
            assert refused.value.kind == kind


async def test_a_pod_that_sends_back_without_end_is_cut_off(loopback, lent):
    async with loopback.stage(binds=(lent,)) as stage:
        await stage.host.expect(UID, "127.0.0.1")
        with stage.intrude() as hostile:
            hostile.sendall(stage.host.ticket + arrival())
            hostile.sendall(PLACED)
            await stage.host.deliver()
            chunk = frame(pod.CONTENT, bytes(pod.MAX_FRAME_BYTES))
            hostile.sendall(document(pod.FILE, target=lent.target))

            def flood():
                sent = 0
                with contextlib.suppress(OSError):
                    while sent < 4 * pod.MAX_RETURNED_BYTES:
                        hostile.sendall(chunk)
                        sent += pod.MAX_FRAME_BYTES
                return sent

            assert await asyncio.to_thread(flood) < 2 * pod.MAX_RETURNED_BYTES
        with pytest.raises(ChannelError) as refused:
            await stage.host.taken_back()
        assert refused.value.kind == "oversize"
        assert lent.source.read_bytes() == MOVED_OUT


async def test_a_file_that_came_back_changed_on_its_way_is_not_kept(loopback, lent):
    async with loopback.stage(binds=(lent,)) as stage:
        await stage.host.expect(UID, "127.0.0.1")
        with stage.intrude() as hostile:
            hostile.sendall(stage.host.ticket + arrival() + PLACED)
            await stage.host.deliver()
            hostile.sendall(a_file(lent.target, b"whatever", digest=bytes(32)) + document(pod.ENDED, **END))
            with pytest.raises(ChannelError) as refused:
                await stage.host.taken_back()
        assert refused.value.kind == "malformed"
        assert lent.source.read_bytes() == MOVED_OUT


@pytest.mark.parametrize("loopback", [replace(PATIENT, stall=2)], indirect=True, ids=[""])
async def test_a_pod_that_does_not_read_is_not_waited_for(loopback):
    plan = InjectedFile("/lockgate-plan/plan", bytes(64 * MIB))
    async with loopback.stage(files=(plan,)) as stage:
        await stage.host.expect(UID, "127.0.0.1")
        with stage.intrude() as hostile:
            hostile.sendall(stage.host.ticket + arrival())
            with pytest.raises(ChannelError) as refused:
                await stage.host.deliver()
            assert refused.value.kind == "slow"
