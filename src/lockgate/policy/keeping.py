"""A policy as the store keeps it, so that a decision can be made again years later; it must not load what is not exactly what decided."""

from __future__ import annotations

from lockgate.policy.bundle import PolicyBundle
from lockgate.policy.bundles.archive import pack, unpack
from lockgate.policy.bundles.layout import bundle_files, read_bundle
from lockgate.policy.port import PolicyLoadError


def packed(bundle: PolicyBundle) -> bytes:
    """The bundle in OPA's own format, unsigned: whoever may write the store may write anything into it. Costs some ten milliseconds."""
    return pack(bundle_files(bundle))


def unpacked(data: bytes, revision: str) -> PolicyBundle:
    """The bundle of a revision. Raises PolicyLoadError when it is damaged, or is another revision's."""
    name = f"kept policy {revision[:19]}"
    bundle = read_bundle(unpack(data, name), name)
    if bundle.revision != revision:
        raise PolicyLoadError(name, f"is {bundle.revision}, not the policy that decided")
    return bundle
