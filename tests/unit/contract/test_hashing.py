"""Both ways to hash are the same function."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from lockgate.contract import hashing


@given(st.binary(max_size=300), st.sampled_from([0, hashing.LARGE]))
def test_small_and_large_hash_alike(data: bytes, size: int) -> None:
    whole = hashing.new_sha256(size)
    whole.update(data)
    assert whole.digest() == hashlib.sha256(data).digest()


def test_text_around_the_bound_hashes_alike() -> None:
    for size in (hashing.LARGE - 1, hashing.LARGE, hashing.LARGE + 1):
        assert hashing.sha256_hex(b"x" * size) == hashlib.sha256(b"x" * size).hexdigest()
