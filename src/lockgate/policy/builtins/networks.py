"""Built-ins of Rego about networks that the Wasm target lacks; `net.cidr_contains` and `net.cidr_intersects` it has itself."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from lockgate.policy.builtins.values import RegoObject, RegoSet, pairs

MAX_PAIRS: Final = 10_000
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_PREFIX: Final = re.compile(r"[0-9]{1,9}", re.ASCII)


def _network(text: str) -> Network:
    """As Go's net.ParseCIDR: an address, a slash, a length. Raises ValueError."""
    address, slash, prefix = text.partition("/")
    if not slash or not _PREFIX.fullmatch(prefix) or "%" in address:
        raise ValueError("no CIDR")
    network = ipaddress.ip_network(f"{address}/{int(prefix)}", strict=False)
    mapped = network.network_address.ipv4_mapped if isinstance(network, ipaddress.IPv6Network) else None
    if mapped is not None and network.prefixlen >= 96:
        return ipaddress.ip_network(f"{mapped}/{network.prefixlen - 96}", strict=False)
    return network


def _range(text: str) -> Network:
    """A network, or an address as the network of that address alone."""
    if "/" in text:
        return _network(text)
    if "%" in text:
        raise ValueError("no address")
    address = ipaddress.ip_address(text)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return ipaddress.ip_network(mapped or address)


def _is_valid(text: Any) -> bool:
    try:
        _network(text)
    except (ValueError, TypeError, AttributeError):
        return False
    return True


def _contains(one: str, other: str) -> bool:
    network, asked = _network(one), _range(other)
    return network.version == asked.version and asked.subnet_of(network)  # type: ignore[arg-type]


def _indexed(operand: Any) -> Iterator[tuple[str, Any]]:
    """Each network of an operand with what it is known by: itself, its place, its key."""
    match operand:
        case str():
            yield operand, operand
        case RegoSet():
            for item in operand:
                yield _text(item), item
        case dict() | RegoObject():
            for key, item in pairs(operand):
                yield _text(item), key
        case list():
            for index, item in enumerate(operand):
                yield _text(item), index


def _text(item: Any) -> str:
    text = item[0] if isinstance(item, list) and not isinstance(item, RegoSet) else item
    if not isinstance(text, str):
        raise TypeError("element must be string or non-empty array")
    return text


def _contains_matches(cidrs: Any, others: Any) -> RegoSet:
    ours, theirs = list(_indexed(cidrs)), list(_indexed(others))
    if len(ours) * len(theirs) > MAX_PAIRS:
        raise OverflowError("too many pairs")
    return RegoSet([index, other] for cidr, index in ours for text, other in theirs if _contains(cidr, text))


NETWORKS: Final[Mapping[str, Callable[..., Any]]] = {
    "net.cidr_is_valid": _is_valid,
    "net.cidr_contains_matches": _contains_matches,
}
