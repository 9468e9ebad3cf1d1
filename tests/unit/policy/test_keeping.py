"""A policy kept for its decisions' sake comes back as exactly what decided, or not at all."""

from dataclasses import replace

import pytest

from lockgate.policy.bundle import load_library
from lockgate.policy.keeping import packed, unpacked
from lockgate.policy.port import PolicyLoadError


def test_a_kept_policy_is_the_one_that_decided() -> None:
    bundle = load_library()
    assert packed(bundle) == packed(load_library())
    found = unpacked(packed(bundle), bundle.revision)
    assert (found.revision, found.wasm, found.data, found.rules) == (
        bundle.revision,
        bundle.wasm,
        bundle.data,
        bundle.rules,
    )


def test_another_revision_is_refused() -> None:
    bundle = load_library()
    other = replace(bundle, rules={})
    with pytest.raises(PolicyLoadError, match="not the policy that decided"):
        unpacked(packed(other), bundle.revision)


@pytest.mark.parametrize("at", [0.1, 0.5, 0.99])
def test_a_damaged_one_is_refused(at: float) -> None:
    bundle = load_library()
    data = bytearray(packed(bundle))
    data[int(len(data) * at)] ^= 1
    with pytest.raises(PolicyLoadError):
        unpacked(bytes(data), bundle.revision)
