"""A sandbox reaches exactly the hosts and ports of its stage, at addresses that its runner lets it reach, by no other spelling or trick."""

from __future__ import annotations

import pytest
from tests.attacks.egress_world import (
    API,
    API6,
    GATEWAY,
    METADATA,
    METADATA6,
    NAT64,
    OTHER,
    PRIVATE,
    World,
    client_hello,
)

HELLO = client_hello()


@pytest.mark.parametrize("address", [API, OTHER, GATEWAY, PRIVATE, METADATA, METADATA6, API6, NAT64, f"::ffff:{API}"])
def test_every_place_the_attacks_name_answers_whoever_is_not_held(world: World, address: str) -> None:
    """The control: what is refused below is refused by the proxy, and not because nobody is there."""
    assert world.reaches(address)


@pytest.mark.parametrize("name", ["api.example", "six.example"])
def test_what_the_stage_may_reach_is_reached(world: World, name: str) -> None:
    hello = client_hello(name)
    with world.proxy(f"{name}:443") as egress:
        assert egress.through(hello, f"{name}:443") == hello
    (note,) = egress.notes
    assert (note["host"], note["port"], note["address"]) == (name, 443, {"api.example": API, "six.example": API6}[name])
    assert (note["sent"], note["received"], note["outcome"]) == (len(hello), len(hello), "closed")


def test_a_name_is_looked_up_once_and_that_very_address_is_connected_to(world: World) -> None:
    """DNS rebinding: a second question would be answered with the metadata service."""
    world.answers("rebind.example", [API], [METADATA])
    before = world.connections(METADATA), world.connections(API)
    hello = client_hello("rebind.example")
    with world.proxy("rebind.example:443", private=()) as egress:
        assert egress.through(hello, "rebind.example:443") == hello
    assert world.questions("rebind.example") == 1
    assert (world.connections(METADATA), world.connections(API)) == (before[0], before[1] + 1)


def test_the_next_tunnel_is_judged_by_the_answer_of_its_own_look_up(world: World) -> None:
    world.answers("later.example", [API], ["127.0.0.1"])
    hello = client_hello("later.example")
    with world.proxy("later.example:443") as egress:
        assert egress.through(hello, "later.example:443") == hello
        assert egress.refused("later.example:443") == "HTTP/1.1 403 address_loopback"


FORBIDDEN = {
    "127.0.0.1": "loopback", "127.8.9.1": "loopback", "::1": "loopback",
    "0.0.0.0": "unspecified", "::": "unspecified", "0.1.2.3": "unspecified",
    METADATA: "link_local", "fe80::a9fe:a9fe": "link_local",
    METADATA6: "metadata", "168.63.129.16": "metadata", "100.100.100.200": "metadata",
    "224.0.0.1": "multicast", "ff02::1": "multicast", "255.255.255.255": "reserved", "240.0.0.1": "reserved",
    "::ffff:127.0.0.1": "v4_mapped", f"::ffff:{API}": "v4_mapped", f"::ffff:{METADATA}": "v4_mapped",
    "::7f00:1": "v4_compatible", NAT64: "tunnelled", "64:ff9b::7f00:1": "tunnelled", "64:ff9b:1::a9fe:a9fe": "tunnelled",
    "2002:7f00:1::": "tunnelled", "2002:a9fe:a9fe::1": "tunnelled", "2001:0:a9fe:a9fe::1": "tunnelled",
    PRIVATE: "private", "192.168.1.1": "private", "172.16.0.1": "private", "100.64.0.1": "private", "fd12::1": "private",
    "198.18.0.1": "private",
}  # fmt: skip


@pytest.mark.parametrize(("address", "why"), FORBIDDEN.items())
def test_a_name_that_leads_where_no_sandbox_goes_is_refused(world: World, address: str, why: str) -> None:
    before = world.connections(address)
    world.answers("trap.example", [address])
    with world.proxy("trap.example:443") as egress:
        assert egress.refused("trap.example:443") == f"HTTP/1.1 403 address_{why}"
    assert world.connections(address) == before
    assert egress.outcomes == [f"address_{why}"]


ALWAYS = {address: why for address, why in FORBIDDEN.items() if why not in ("private",)}


@pytest.mark.parametrize(("address", "why"), ALWAYS.items())
def test_no_listed_range_opens_what_is_never_open(world: World, address: str, why: str) -> None:
    ranges = (
        "127.0.0.0/8",
        "169.254.0.0/16",
        "::1/128",
        "fe80::/10",
        "fc00::/7",
        "100.64.0.0/10",
        "0.0.0.0/8",
        "240.0.0.0/4",
    )
    world.answers("trap.example", [address])
    with world.proxy("trap.example:443", private=ranges) as egress:
        assert egress.refused("trap.example:443") == f"HTTP/1.1 403 address_{why}"


def test_a_private_address_is_reached_where_the_target_lists_its_range_and_no_other(world: World) -> None:
    world.answers("inner.example", [PRIVATE])
    hello = client_hello("inner.example")
    with world.proxy("inner.example:443", private=("10.20.0.0/24",)) as egress:
        assert egress.through(hello, "inner.example:443") == hello
    with world.proxy("inner.example:443", private=("10.21.0.0/16", "fc00::/7")) as egress:
        assert egress.refused("inner.example:443") == "HTTP/1.1 403 address_private"


def test_one_bad_address_among_good_ones_spoils_the_answer(world: World) -> None:
    world.answers("mixed.example", [API, "127.0.0.1"])
    with world.proxy("mixed.example:443") as egress:
        assert egress.refused("mixed.example:443") == "HTTP/1.1 403 address_loopback"


@pytest.mark.parametrize("name", ["gateway.example", "alias.example"])
def test_the_runners_own_control_plane_is_never_reached(world: World, name: str) -> None:
    """By its name, or by another name for its address; by the address given in the runner's settings as well."""
    before = world.connections(GATEWAY)
    for control_plane in ("gateway.example", GATEWAY):
        with world.proxy(f"{name}:443", control_plane=(control_plane,)) as egress:
            assert egress.refused(f"{name}:443") == "HTTP/1.1 403 address_control_plane"
    assert world.connections(GATEWAY) == before


def test_a_control_plane_that_cannot_be_found_might_be_anywhere(world: World) -> None:
    with world.proxy("api.example:443", control_plane=("nowhere.example",)) as egress:
        assert egress.refused("api.example:443") == "HTTP/1.1 502 control_plane_unknown"


def test_the_runners_own_machine_is_not_reached_by_its_outer_address(world: World) -> None:
    """What listens on every address there listens on this one too."""
    world.answers("self.example", ["198.18.0.1"], ["198.18.0.1"])
    with world.proxy("self.example:443", private=("198.18.0.0/15",)) as egress:
        assert egress.refused("self.example:443") == "HTTP/1.1 403 address_own_host"


SPELLINGS = [
    "127.0.0.1:443", "localhost:443", "localhost.:443", "2130706433:443", "0x7f000001:443", "017700000001:443", "127.1:443",
    "[::1]:443", "[::ffff:127.0.0.1]:443", "[::]:443", f"{METADATA}:443", "2852039166:443", f"[{METADATA6}]:443",
    f"{API}:443", "api.example.:443", "api.example:0443", "api.example:+443", "api.example: 443", "api.example:80",
    "api.example:65979", "api.example:-1", "api.example", "api.example:", ":443", "other.example:443",
    "sub.api.example:443", "api.example.other.example:443", "user@api.example:443", "user:pass@api.example:443",
    "api.example:443@other.example:443", "api.example:443#other.example", "api.example:443/../", "api.example%00:443",
    "api\u2024example:443".encode().decode("latin-1"), "xn--api-.example:443", "http://api.example:443/", "api.example:443,other.example:443",
]  # fmt: skip


@pytest.mark.parametrize("asked", SPELLINGS)
def test_only_the_very_destination_counts_in_no_other_spelling(world: World, asked: str) -> None:
    with world.proxy() as egress:
        assert egress.refused(asked).split()[1] in ("400", "403")
    assert egress.notes[0]["address"] == ""


def test_the_case_of_a_name_is_no_other_name(world: World) -> None:
    hello = client_hello("API.Example")
    with world.proxy() as egress:
        assert egress.through(hello, "Api.EXAMPLE:443") == hello


def test_what_is_refused_is_never_looked_up(world: World) -> None:
    """A name is a message to whoever answers for it: exfiltration by DNS ends before the resolver."""
    with world.proxy() as egress:
        egress.refused("c2VjcmV0.evil.example:443")
        egress.refused("api.example.evil.example:443")
    asked = [name for name, _ in world.order(op="asked")["asked"]]
    assert not [name for name in asked if name.endswith("evil.example")]
