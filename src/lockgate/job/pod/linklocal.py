"""Finds the node's own IPv6 addresses on this pod's cables: rules for IPv4 alone leave that way open. It only reads what the kernel tells."""

from __future__ import annotations

ADDRESSES, NEIGHBOURS = "/proc/net/if_inet6", "/proc/net/arp"
UNUSED_PORT = 9
"""A port nobody listens on: that the node refuses it shows that it was reached."""
_LINK_SCOPE = "20"
_TENTATIVE = 0x40
_NO_HARDWARE = "00:00:00:00:00:00"


def tried_out() -> bool:
    """Whether the kernel still tries out an address of this pod's own (RFC 4862, 5.4): until it has, nothing leaves from it or comes to it."""
    return any(flags & _TENTATIVE for _, flags in _own())


def hosts() -> list[str] | None:
    """`fe80::…%interface` of every neighbour, none where no interface speaks IPv6; None when one does and its neighbour is not known."""
    interfaces = {name for name, _ in _own() if name != "lo"}
    if not interfaces:
        return []
    found = [f"{link_local(hardware)}%{name}" for hardware, name in _neighbours() if name in interfaces]
    return found if {host.partition("%")[2] for host in found} == interfaces else None


def link_local(hardware: str) -> str:
    """The address that a hardware address makes by itself (RFC 4291, appendix A)."""
    parts = [int(part, 16) for part in hardware.split(":")]
    parts[0] ^= 2
    groups = [parts[0] << 8 | parts[1], parts[2] << 8 | 0xFF, 0xFE00 | parts[3], parts[4] << 8 | parts[5]]
    return "fe80::" + ":".join(f"{group:x}" for group in groups)


def _own() -> list[tuple[str, int]]:
    """Interface and flags of every link-local address."""
    rows = [line.split() for line in _lines(ADDRESSES)]
    return [(row[5], int(row[4], 16)) for row in rows if len(row) == 6 and row[3] == _LINK_SCOPE]


def _neighbours() -> list[tuple[str, str]]:
    rows = [line.split() for line in _lines(NEIGHBOURS)[1:]]
    return [(row[3], row[5]) for row in rows if len(row) == 6 and row[3] != _NO_HARDWARE and row[3].count(":") == 5]


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="ascii", errors="replace") as stream:  # noqa: PTH123 -- pathlib costs 5 ms of the pod's start
            return stream.read().splitlines()
    except FileNotFoundError:  # no IPv6 in this kernel
        return []
