"""Who comes to a job's channel that should not: each ends the run with a name, and nothing was sent to anybody by then."""

import ssl
from dataclasses import replace

import pytest
from tests.pods import NOWHERE, PATIENT, UID, all_that_comes, arrival

from lockgate.contract import podchannel as pod
from lockgate.runner.sandbox.network.certificate import stage_certificate
from lockgate.runner.sandbox.port import ChannelError, SandboxLimits


async def refusal(stage) -> ChannelError:
    """What the run ended with. Nothing can be delivered any more."""
    with pytest.raises(ChannelError) as arriving:
        await stage.host.arrived()
    with pytest.raises(ChannelError) as delivering:
        await stage.host.deliver()
    with pytest.raises(ChannelError) as receiving:
        await stage.host.channel.receive()
    assert arriving.value.kind == delivering.value.kind == receiving.value.kind
    return arriving.value


async def test_a_wrong_ticket_ends_the_run(loopback):
    async with loopback.stage() as stage:
        process = stage.start(ticket=bytes(32))
        await stage.host.expect(UID, "127.0.0.1")
        assert (await refusal(stage)).kind == "wrong_ticket"
        assert process.wait() == 70


@pytest.mark.parametrize("loopback", [replace(PATIENT, ticket=2)], indirect=True, ids=[""])
@pytest.mark.parametrize(
    "said", [b"", b"one byte after the other", b"GET / HTTP/1.1\r\n\r\n"], ids=["silence", "slow", "no TLS"]
)
async def test_no_ticket_in_time_ends_the_run(loopback, said):
    async with loopback.stage() as stage:
        if said.startswith(b"GET"):
            stranger = stage.knock()
            stranger.sendall(said)
        else:
            stranger = stage.intrude()
            stranger.sendall(said)  # fewer bytes than a ticket has
        with stranger:
            assert (await refusal(stage)).kind == "no_ticket"


@pytest.mark.parametrize("loopback", [replace(PATIENT, ticket=2)], indirect=True, ids=[""])
async def test_a_connection_that_only_opens_ends_the_run_in_time(loopback):
    async with loopback.stage() as stage:
        with stage.knock() as stranger:
            assert (await refusal(stage)).kind == "no_ticket"
            assert all_that_comes(stranger) == b""


async def test_nothing_older_than_tls_1_3_is_spoken(loopback):
    async with loopback.stage() as stage:
        with pytest.raises(ssl.SSLError):
            stage.intrude(newest=ssl.TLSVersion.TLSv1_2)
        assert (await refusal(stage)).kind == "no_ticket"


async def test_a_stolen_ticket_from_another_address_ends_the_run(loopback):
    async with loopback.stage() as stage:
        await stage.host.expect(UID, "127.0.0.1")
        with stage.intrude(source="127.0.0.2") as thief:
            thief.sendall(stage.host.ticket + arrival())
            assert (await refusal(stage)).kind == "wrong_peer"
            assert all_that_comes(thief) == b""


async def test_a_stolen_ticket_shown_before_the_pod_is_known_is_answered_by_nothing(loopback):
    """The thief comes first, from an address that later turns out not to be the pod's."""
    async with loopback.stage() as stage:
        with stage.intrude() as thief:
            thief.sendall(stage.host.ticket + arrival())
            await stage.host.expect(UID, "127.0.0.2")
            assert (await refusal(stage)).kind == "wrong_peer"
            assert all_that_comes(thief) == b""


async def test_another_pod_of_the_same_address_ends_the_run(loopback):
    async with loopback.stage() as stage:
        process = stage.start(**{pod.POD_VARIABLE: "another"})
        await stage.host.expect(UID, "127.0.0.1")
        assert (await refusal(stage)).kind == "wrong_pod"
        assert process.wait() == 70


async def test_a_ticket_shown_again_ends_the_run_that_it_had_opened(loopback):
    async with loopback.stage() as stage:
        process = await stage.run()
        assert (await stage.host.channel.receive())["type"] == "hello"
        with stage.knock() as thief:
            with pytest.raises(ChannelError) as ended:
                await stage.host.channel.receive()
            assert ended.value.kind == "second_connection"
            assert all_that_comes(thief) == b"", "not even TLS: there is no way to show it"
        assert process.wait() == 70, "the pod was cut off, and ends what it runs"


async def test_a_second_pod_with_the_right_ticket_ends_the_run(loopback):
    async with loopback.stage() as stage:
        await stage.run()
        second = stage.start()
        assert second.wait() == 70
        with pytest.raises(ChannelError) as ended:
            while True:
                await stage.host.channel.receive()
        assert ended.value.kind == "second_connection"


async def test_whoever_only_knocks_a_second_time_ends_the_run_too(loopback):
    async with loopback.stage() as stage:
        with stage.intrude() as first, stage.knock():
            first.sendall(stage.host.ticket)
            assert (await refusal(stage)).kind == "second_connection"


async def test_a_pod_that_leaves_out_a_look_is_sent_nothing(loopback):
    async with loopback.stage() as stage:
        await stage.host.expect(UID, "127.0.0.1")
        with stage.intrude() as liar:
            liar.sendall(stage.host.ticket + arrival(checks={name: True for name in pod.CHECKS if name != pod.KUBELET}))
            error = await refusal(stage)
            assert (error.kind, error.detail) == ("unconfined", "kubelet")
            assert all_that_comes(liar) == b""


async def test_the_canary_is_watched_from_the_runners_side_as_well(loopback):
    """A pod that lies about it, or looks too early, is seen all the same; somebody else's scan of the port ends nothing."""
    async with loopback.stage(limits=SandboxLimits(wall_seconds=60)) as stage:
        with loopback.network.connect(stage.host.canary_port, "127.0.0.9"):
            process = await stage.run()
            assert (await stage.host.channel.receive())["type"] == "hello"
        with loopback.network.connect(stage.host.canary_port), pytest.raises(ChannelError) as ended:
            await stage.host.channel.receive()
        assert (ended.value.kind, ended.value.detail) == ("unconfined", "canary, as seen from here")
        assert process.wait() == 70


async def test_a_pod_shows_its_ticket_to_nobody_but_the_pinned_certificate(loopback, reachable):
    other = reachable / "other.pem"
    other.write_bytes(stage_certificate().pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(other)
    async with loopback.stage() as stage:
        with loopback.network.listen() as listener:
            process = stage.start(**{pod.ADDRESS_VARIABLE: f"127.0.0.1:{listener.getsockname()[1]}"})
            with context.wrap_socket(listener.accept()[0], server_side=True) as impostor:
                assert all_that_comes(impostor) == b""
        assert process.wait() == 70
        assert b"another certificate" in process.output


async def test_a_pod_speaks_nothing_older_than_tls_1_3(loopback, reachable):
    other = reachable / "other.pem"
    other.write_bytes(stage_certificate().pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(other)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with loopback.stage() as stage:
        with loopback.network.listen() as listener:
            process = stage.start(**{pod.ADDRESS_VARIABLE: f"127.0.0.1:{listener.getsockname()[1]}"})
            with pytest.raises(ssl.SSLError):
                context.wrap_socket(listener.accept()[0], server_side=True)
        assert process.wait() == 70


async def test_neither_ticket_nor_key_is_in_any_representation(loopback):
    async with loopback.stage() as stage:
        shown = repr(stage.host) + repr(stage.host.pod_environment(NOWHERE)) + repr(stage_certificate())
        assert "PRIVATE KEY" not in shown
        assert repr(stage.host.ticket) not in shown
        assert stage.host.ticket.hex() not in shown
