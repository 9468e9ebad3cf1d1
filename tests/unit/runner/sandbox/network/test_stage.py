"""One stage over a network, from the pod's first connection to its last word: a real first process as PID 1, real TLS, a real job."""

import hashlib

import pytest
from tests.pods import CLOSED, NOWHERE, UID

from lockgate.contract import podchannel as pod
from lockgate.runner.sandbox.port import Bind, ChannelError, InjectedFile, SandboxLimits

LOOKS = """
said = hello(); ready()
def mode(path): return oct(os.stat(path).st_mode & 0o7777)
print("some output", flush=True)
result(source=open("/work/source/deep/down/a").read(), plan=open("/lockgate-plan/plan").read(), said=said["x"],
       modes=[mode(p) for p in ("/work/source/deep/down/a", "/work/source/run", "/work/source/deep", "/lockgate-plan/plan")],
       environment=sorted(os.environ), first=os.getppid(), fds=len(os.listdir("/proc/self/fd")))
"""


async def test_a_stage_runs_from_arrival_to_its_last_word(loopback, reachable):
    source = reachable / "source"
    (source / "deep/down").mkdir(parents=True)
    (source / "deep/down/a").write_text("content")
    (source / "run").write_text("#!/bin/sh")
    (source / "run").chmod(0o755)
    given = {"binds": (Bind(source, "/work/source"),), "files": (InjectedFile("/lockgate-plan/plan", b"the plan"),)}
    async with loopback.stage(LOOKS, **given) as stage:
        process = stage.start()
        await stage.host.expect(UID, "127.0.0.1")
        arrival = await stage.host.arrived()
        await stage.host.deliver()
        said = await stage.converse({"x": "for the job"})
        report = await stage.host.ended()
        assert process.wait() == 0
    assert arrival.pod_uid == UID
    assert dict(arrival.checks) == dict.fromkeys(pod.CHECKS, True)
    assert said["source"] == "content"
    assert said["plan"] == "the plan"
    assert said["said"] == "for the job"
    assert said["modes"] == ["0o444", "0o555", "0o555", "0o400"]
    assert said["first"] == 1
    assert said["fds"] == 5, "standard streams, the channel, and the listing itself"
    assert not [
        name for name in said["environment"] if name.startswith(("LOCKGATE_POD", "LOCKGATE_TICKET", "KUBERNETES"))
    ]
    assert (report.cause, report.exit_code, report.output_tail) == ("exit", 0, b"some output\n")


async def test_a_pod_that_reaches_the_canary_is_sent_nothing(loopback):
    async with loopback.stage() as stage:
        process = stage.start(
            **{pod.UNREACHABLE_VARIABLE: stage.host.pod_environment(NOWHERE)[pod.UNREACHABLE_VARIABLE]}
        )
        await stage.host.expect(UID, "127.0.0.1")
        with pytest.raises(ChannelError) as refused:
            await stage.host.deliver()
        assert refused.value.kind == "unconfined"
        assert "canary" in refused.value.detail
        assert process.wait() == 70


async def test_what_answers_a_pod_late_ends_its_run(loopback):
    """A look that nobody has answered in time passes for the moment, and goes on."""
    with loopback.network.listen() as slow:
        slow.listen(0)
        place = "127.0.0.1:{1}".format(*slow.getsockname())
        with loopback.network.connect(slow.getsockname()[1]):  # its kernel takes no more
            async with loopback.stage("hello(); signal.pause()", limits=SandboxLimits(wall_seconds=120)) as stage:
                process = stage.start(
                    **{pod.UNREACHABLE_VARIABLE: f"canary={place} api_server={CLOSED} metadata={CLOSED}"}
                )
                await stage.host.expect(UID, "127.0.0.1")
                await stage.host.deliver()
                assert (await stage.host.channel.receive())["type"] == "hello"
                slow.accept()[0].close()
                with pytest.raises(ChannelError) as ended:
                    await stage.host.channel.receive()
                assert (ended.value.kind, ended.value.detail) == ("unconfined", "canary")
                assert process.wait() == 70


async def test_what_answers_a_pod_before_its_order_keeps_the_job_from_starting(loopback):
    with loopback.network.listen() as slow:
        slow.listen(0)
        place = "127.0.0.1:{1}".format(*slow.getsockname())
        with loopback.network.connect(slow.getsockname()[1]) as first:
            async with loopback.stage() as stage:
                process = stage.start(
                    **{pod.UNREACHABLE_VARIABLE: f"canary={place} api_server={CLOSED} metadata={CLOSED}"}
                )
                await stage.host.expect(UID, "127.0.0.1")
                assert (await stage.host.arrived()).checks["canary"] is True
                slow.accept()[0].close()
                first.close()
                slow.settimeout(60)
                slow.accept()[0].close()  # the pod's, when its kernel asks again
                with pytest.raises(ChannelError) as refused:
                    await stage.host.deliver()
                assert (refused.value.kind, refused.value.detail) == ("unconfined", "canary")
                assert process.wait() == 70


RUNS_A_TOOL = """
hello(); ready()
result(said=subprocess.run(["/lockgate-tool/tofu"], capture_output=True, text=True).stdout, linked=os.path.islink("/lockgate-tool/tofu"))
"""
TOOL = b"#!/bin/sh\necho a tool; exit\n" + b"#" * (1 << 20)
DIGEST = hashlib.sha256(TOOL).hexdigest()


def tool_bind(folder, content=TOOL):
    (folder / "tool").mkdir()
    (folder / "tool/tofu").write_bytes(content)
    (folder / "tool/tofu").chmod(0o555)
    return Bind(folder / "tool", "/lockgate-tool", contents={"tofu": DIGEST})


def image_with(folder, content):
    """The arguments by which a pod's image holds this under the digest of the tool."""
    (folder / "image").mkdir()
    (folder / "image" / DIGEST).write_bytes(content)
    (folder / "image" / DIGEST).chmod(0o555)
    return "--ro-bind", str(folder / "image"), pod.IMAGE_FILES


@pytest.mark.parametrize("has", [True, False], ids=["the image has it", "the image has it not"])
async def test_a_tool_that_the_image_has_is_not_sent_and_runs_all_the_same(loopback, reachable, has):
    async with loopback.stage(RUNS_A_TOOL, binds=(tool_bind(reachable),)) as stage:
        stage.start(*(image_with(reachable, TOOL) if has else ()))
        await stage.host.expect(UID, "127.0.0.1")
        assert (await stage.host.arrived()).files_had == ({DIGEST} if has else set())
        await stage.host.deliver()
        said = await stage.converse()
        assert (said["said"], said["linked"]) == ("a tool\n", has)
        assert (stage.host.sent_bytes < len(TOOL)) is has


async def test_an_image_that_says_it_has_a_tool_and_has_another_ends_the_stage_by_name(loopback, reachable):
    async with loopback.stage(RUNS_A_TOOL, binds=(tool_bind(reachable),)) as stage:
        process = stage.start(*image_with(reachable, TOOL + b"#"))
        await stage.host.expect(UID, "127.0.0.1")
        with pytest.raises(ChannelError) as refused:
            await stage.host.deliver()
        assert refused.value.kind == "not_placed"
        assert "/lockgate-tool/tofu" in refused.value.detail
        assert "is not what its name says" in refused.value.detail
        assert process.wait() == 70
