"""Finds the node's own IPv6 addresses on this pod's cables: rules for IPv4 alone leave that way open. It only reads what the kernel tells."""

from __future__ import annotations

import time

ADDRESSES, NEIGHBOURS = "/proc/net/if_inet6", "/proc/net/arp"
UNUSED_PORT = 9
"""A port nobody listens on: that the node refuses it shows that it was reached."""
SETTLE_SECONDS = 2.5
_LINK_SCOPE = "20"
_TENTATIVE = 0x40
_NO_HARDWARE = "00:00:00:00:00:00"


def hosts() -> list[str] | None:
    """`fe80::…%interface` of every neighbour, none where no interface speaks IPv6; None when one does and its neighbour is not known.

    An address of one's own that the kernel still tries out cannot be sent from, so that is waited for: until then nobody could tell.
    """
    interfaces = _settled()
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


def _settled() -> set[str]:
    until = time.monotonic() + SETTLE_SECONDS
    while True:
        rows = [line.split() for line in _lines(ADDRESSES)]
        local = [(row[5], int(row[4], 16)) for row in rows if len(row) == 6 and row[3] == _LINK_SCOPE]
        if not any(flags & _TENTATIVE for _, flags in local) or time.monotonic() > until:
            return {name for name, _ in local if name != "lo"}
        time.sleep(0.01)


def _neighbours() -> list[tuple[str, str]]:
    rows = [line.split() for line in _lines(NEIGHBOURS)[1:]]
    return [(row[3], row[5]) for row in rows if len(row) == 6 and row[3] != _NO_HARDWARE and row[3].count(":") == 5]


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="ascii", errors="replace") as stream:  # noqa: PTH123 -- pathlib costs 5 ms of the pod's start
            return stream.read().splitlines()
    except FileNotFoundError:  # no IPv6 in this kernel
        return []
