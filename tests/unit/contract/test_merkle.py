"""Tree hashing against the vectors published with Certificate Transparency, and against the RFC's own recursive definition."""

import hashlib
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockgate.contract.merkle import (
    EMPTY_ROOT,
    Frontier,
    ProofError,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    node_of,
    root_of,
    verify_consistency,
    verify_inclusion,
)

INPUTS = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [leaf_hash(bytes.fromhex(text)) for text in INPUTS]
A, B, C = (
    "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
    "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
)
CONSISTENCY = {
    (1, 8): [A, B, C],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        ROOTS[4],
    ],
    (2, 5): [B, "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"],
}


def recursive_root(leaves: list[bytes]) -> bytes:
    """RFC 9162 §2.1.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(recursive_root(leaves[:split]), recursive_root(leaves[split:]))


def many(count: int) -> list[bytes]:
    return [leaf_hash(b"%d" % number) for number in range(count)]


def test_the_published_roots() -> None:
    assert [root_of(LEAVES[:size]).hex() for size in range(9)] == ROOTS
    assert EMPTY_ROOT.hex() == ROOTS[0]


def test_the_published_proofs() -> None:
    assert [item.hex() for item in inclusion_proof(node_of(LEAVES), 0, 8)] == [A, B, C]
    for (old, new), proof in CONSISTENCY.items():
        assert [item.hex() for item in consistency_proof(node_of(LEAVES), old, new)] == proof


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 150), st.data())
def test_roots_and_proofs_agree_with_the_definition(size: int, data: st.DataObject) -> None:
    leaves = many(size)
    root, node = recursive_root(leaves), node_of(leaves)
    assert root_of(leaves) == root
    old = data.draw(st.integers(0, size))
    verify_consistency(old, size, recursive_root(leaves[:old]), root, consistency_proof(node, old, size))
    if size:
        index = data.draw(st.integers(0, size - 1))
        verify_inclusion(leaves[index], index, size, inclusion_proof(node, index, size), root)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 60), st.data())
def test_a_proof_that_is_not_right_is_refused(size: int, data: st.DataObject) -> None:
    leaves = many(size)
    root, node = root_of(leaves), node_of(leaves)
    index = data.draw(st.integers(0, size - 1))
    path = inclusion_proof(node, index, size)
    old = data.draw(st.integers(1, size - 1))
    steps = consistency_proof(node, old, size)
    old_root = root_of(leaves[:old])
    spoiled = data.draw(st.sampled_from(["drop", "add", "flip"]))
    for bad in (spoil(path, spoiled), (*path, root)):
        with pytest.raises(ProofError):
            verify_inclusion(leaves[index], index, size, bad, root)
    for bad in (spoil(steps, spoiled), (*steps, root)):
        with pytest.raises(ProofError):
            verify_consistency(old, size, old_root, root, bad)
    with pytest.raises(ProofError):
        verify_consistency(old, size, old_root, old_root, steps)
    with pytest.raises(ProofError):
        verify_inclusion(b"\0" * 32, index, size, path, root)


def spoil(proof: tuple[bytes, ...], how: str) -> tuple[bytes, ...]:
    if how == "drop":
        return proof[:-1]
    if how == "add":
        return (*proof, b"\0" * 32)
    return (bytes([proof[0][0] ^ 1]) + proof[0][1:], *proof[1:])


def test_sizes_that_cannot_be_are_refused() -> None:
    node = node_of(LEAVES)
    for index, size in ((-1, 8), (8, 8), (0, 0)):
        with pytest.raises(ValueError, match="no leaf"):
            inclusion_proof(node, index, size)
        with pytest.raises(ProofError):
            verify_inclusion(LEAVES[0], index, size, (), LEAVES[0])
    for old, new in ((-1, 8), (9, 8)):
        with pytest.raises(ValueError, match="no earlier form"):
            consistency_proof(node, old, new)
        with pytest.raises(ProofError):
            verify_consistency(old, new, EMPTY_ROOT, EMPTY_ROOT, ())
    with pytest.raises(ProofError):
        verify_consistency(3, 3, LEAVES[0], LEAVES[1], ())
    with pytest.raises(ProofError):
        verify_consistency(0, 3, LEAVES[0], LEAVES[1], ())


def test_a_frontier_survives_being_written_down() -> None:
    frontier = Frontier()
    for before, leaf in pairwise([b"", *many(70)]):
        again = Frontier.from_bytes(frontier.size, frontier.to_bytes())
        assert again.root() == frontier.root(), before
        made = again.append(leaf)
        assert made == frontier.append(leaf)
        assert made[0] == (0, frontier.size - 1, leaf)
    for size, data in ((3, b"\0" * 32), (1, b"\0" * 31), (0, b"\0" * 32)):
        with pytest.raises(ValueError, match="frontier"):
            Frontier.from_bytes(size, data)
