"""Which addresses a sandbox may never reach, and which only when its target lists them; pure (TRUST §8)."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from typing import Final

from lockgate.runner.egress.rules import Network

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NEVER: Final[tuple[tuple[str, str], ...]] = (
    ("unspecified", "0.0.0.0/8"),
    ("loopback", "127.0.0.0/8"),
    ("link-local", "169.254.0.0/16"),
    ("multicast", "224.0.0.0/4"),
    ("reserved", "240.0.0.0/4"),
    ("reserved", "192.0.0.0/24"),
    ("tunnelled", "192.88.99.0/24"),
    ("metadata", "168.63.129.16/32"),
    ("metadata", "100.100.100.200/32"),
    ("v4-mapped", "::ffff:0:0/96"),
    ("v4-mapped", "::ffff:0:0:0/96"),
    ("unspecified", "::/128"),
    ("loopback", "::1/128"),
    ("v4-compatible", "::/96"),
    ("tunnelled", "64:ff9b::/96"),
    ("tunnelled", "64:ff9b:1::/48"),
    ("tunnelled", "2001::/32"),
    ("tunnelled", "2002::/16"),
    ("reserved", "100::/64"),
    ("link-local", "fe80::/10"),
    ("link-local", "fec0::/10"),
    ("multicast", "ff00::/8"),
    ("metadata", "fd00:ec2::/32"),
    ("metadata", "fd20:ce::/32"),
)
"""First match counts. Forms of IPv6 that carry an IPv4 address are refused whole: a translator behind them may lead anywhere."""

_CLASSES: Final[tuple[tuple[str, Network], ...]] = tuple((name, ipaddress.ip_network(text)) for name, text in _NEVER)


def refusal(address: Address, private: Collection[Network]) -> str:
    """Why `address` may not be connected to, as one word, or "". `private` are ranges the target lists; they open no class of `_NEVER`."""
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        return "link-local"
    for name, network in _CLASSES:
        if address in network:
            return name
    if not address.is_global and not any(address in network for network in private):
        return "private"
    return ""
