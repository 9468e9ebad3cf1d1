"""Reads and writes dependency lock files in the form in which the engines write them; it must not accept a provider without a hash."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lockgate.job.drivers.port import StageRefused

NAME = ".terraform.lock.hcl"
MAX_BYTES = 1 << 20
MAX_PROVIDERS = 256
_BLOCK = re.compile(
    r'provider "(?P<address>[a-z0-9.-]{1,253}(?::[0-9]{1,5})?/[A-Za-z0-9_-]{1,64}/[A-Za-z0-9_-]{1,64})" \{\n'
    r'  version +?= "(?P<version>[0-9][0-9A-Za-z.+-]{0,63})"\n'
    r'(?:  constraints = "[^"\\$%\n]{0,1000}"\n)?'
    r'  hashes += \[\n(?P<hashes>(?:    "[a-z0-9]{1,8}:[0-9A-Za-z+/=]{16,128}",\n){1,512})  \]\n\}\n',
    re.ASCII,
)


@dataclass(frozen=True, slots=True, order=True)
class Locked:
    """One provider as a lock file pins it; `hashes` are sorted."""

    address: str
    version: str
    hashes: tuple[str, ...]


def parse(data: bytes, where: str) -> tuple[Locked, ...]:
    """The locked providers, by address. Raises StageRefused naming `where`: not in the engines' own form, a provider twice or without a hash."""
    fix = "; let `init` write it again, and keep the file in the source"
    if len(data) > MAX_BYTES:
        raise StageRefused(f"{where}: the lock file is larger than {MAX_BYTES} bytes")
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError:
        raise StageRefused(f"{where}: the lock file is not plain ASCII{fix}") from None
    lines = (line for line in text.replace("\r\n", "\n").split("\n") if line.strip() and not line.startswith("#"))
    rest = "".join(line + "\n" for line in lines)
    found: dict[str, Locked] = {}
    at = 0
    while at < len(rest):
        block = _BLOCK.match(rest, at)
        if block is None or len(found) >= MAX_PROVIDERS:
            line = rest[at:].split("\n", 1)[0]
            raise StageRefused(
                f"{where}: the lock file is not in the form the engines write, each provider with version and hashes, "
                f"from {line[:80]!r} on{fix}"
            )
        if block["address"] in found:
            raise StageRefused(f"{where}: the lock file names {block['address']} twice{fix}")
        hashes = tuple(sorted(set(re.findall(r'"([^"]+)"', block["hashes"]))))
        found[block["address"]] = Locked(block["address"], block["version"], hashes)
        at = block.end()
    return tuple(found[address] for address in sorted(found))


def write(providers: tuple[Locked, ...]) -> str:
    """A lock file that pins exactly these, without constraints."""
    blocks = []
    for provider in providers:
        hashes = "".join(f'    "{value}",\n' for value in provider.hashes)
        blocks.append(
            f'provider "{provider.address}" {{\n  version = "{provider.version}"\n  hashes = [\n{hashes}  ]\n}}\n'
        )
    return "\n".join(blocks)
