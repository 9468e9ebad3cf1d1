# ruff: noqa: S101 - a contract suite asserts, and names paths inside the sandbox
"""The channel's sequence, and what the provider promises at any time: destroy, reap, many at once."""

from __future__ import annotations

import asyncio
import secrets
from typing import Final

from lockgate.runner.sandbox.port import (
    ChannelError,
)
from lockgate.testing.sandbox.bench import (
    MIB,
    Bench,
    check,
    converse,
)

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
        "channel.sendall(frames.frame(b'{\"type\":\"hello\",\"x\":' + b'[' * 80 + b']' * 80 + b'}'))",
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
    asked = (bench.ask(program, {"number": number}, enclosure=secrets.token_hex(16)) for number in range(8))
    found = await asyncio.gather(*asked)
    assert [each["number"] for each in found] == list(range(8))
