"""What one stage may reach and how much of it: data and its checks, for the settings and for the proxy; it must not resolve or connect."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_LABEL: Final = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_DESTINATION: Final = re.compile(rf"(?P<host>{_LABEL}(\.{_LABEL})*):(?P<port>[1-9][0-9]{{0,4}})")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_SHARED: Final = ipaddress.IPv4Network("100.64.0.0/10")
"""Carriers' and clouds' inner addresses: not public, and not counted as private by the `ipaddress` module."""
MAX_HOST: Final = 253
MAX_PORT: Final = 65_535


class RuleInvalid(ValueError):
    """A destination or a range cannot stand; the text says what it must be."""


@dataclass(frozen=True, slots=True)
class EgressLimits:
    """Caps on one stage's tunnels: `tunnels` over its whole life, `at_once` of them open, `total_bytes` in both directions together.

    Each tunnel may take `tunnel_seconds`, each step before its first byte (request, look-up, connection, ClientHello) `handshake_seconds`,
    and what is left of it once one side has ended `half_open_seconds`.
    """

    tunnels: int = 256
    at_once: int = 16
    total_bytes: int = 256 << 20
    tunnel_seconds: int = 600
    handshake_seconds: int = 10
    half_open_seconds: int = 30


@dataclass(frozen=True, slots=True)
class EgressRules:
    """`destinations` as host:port, exactly these; `private` the non-public ranges (CIDR) that may be connected to; `control_plane` the
    hosts (names or addresses) that never may, whatever the rest says."""

    destinations: tuple[str, ...]
    private: tuple[str, ...]
    control_plane: tuple[str, ...]
    limits: EgressLimits = EgressLimits()


def destination(text: str) -> tuple[str, int]:
    """Host and port of `host:port`. Only DNS names in lower case: TLS has no server name for an address. Raises RuleInvalid."""
    found = _DESTINATION.fullmatch(text)
    if found is None or len(found["host"]) > MAX_HOST or int(found["port"]) > MAX_PORT:
        raise RuleInvalid(
            "must be host:port: one DNS name in lower case, without a dot at its end, and a port up to 65535"
        )
    if _NUMBER.fullmatch(found["host"].rpartition(".")[2]):
        raise RuleInvalid("must name a host: an address, in whatever spelling, has no TLS server name to hold it to")
    return found["host"], int(found["port"])


def private_network(text: str) -> Network:
    """A range that targets may list. Raises RuleInvalid: also for one that reaches into public space, where nothing needs listing."""
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        raise RuleInvalid("must be a CIDR range without host bits, like 10.20.0.0/16") from None
    shared = isinstance(network, ipaddress.IPv4Network) and network.subnet_of(_SHARED)
    if not network.is_private and not shared:
        raise RuleInvalid("must lie within private space (such as 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, fc00::/7)")
    return network
