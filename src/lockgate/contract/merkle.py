"""RFC 6962 / RFC 9162 tree hashing: roots, a growing frontier, proofs and their verification. Pure; it must not know what a leaf means."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence

EMPTY_ROOT = hashlib.sha256(b"").digest()
HASH_BYTES = 32

Node = Callable[[int, int], bytes]
"""(level, index) → the hash of the complete subtree over leaves [index << level, (index + 1) << level)."""


class ProofError(ValueError):
    """A proof does not lead to the root it should, or has the wrong length."""


def leaf_hash(data: bytes) -> bytes:
    """Hash of a leaf (RFC 9162 §2.1.1)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """The right edge of a growing tree: all that is needed to append and to name the root."""

    __slots__ = ("_stack", "size")

    def __init__(self, size: int = 0, stack: Iterable[bytes] = ()) -> None:
        self.size = size
        self._stack = list(stack)
        if len(self._stack) != size.bit_count():
            raise ValueError(f"a frontier of {size} leaves has {size.bit_count()} hashes, not {len(self._stack)}")

    def append(self, leaf: bytes) -> list[tuple[int, int, bytes]]:
        """Add a leaf hash; answers the complete nodes this made, as (level, index, hash), the leaf first."""
        index, level, made = self.size, 0, [(0, self.size, leaf)]
        while index & 1:
            leaf = node_hash(self._stack.pop(), leaf)
            index >>= 1
            level += 1
            made.append((level, index, leaf))
        self._stack.append(leaf)
        self.size += 1
        return made

    def root(self) -> bytes:
        """The root over everything appended (RFC 9162 §2.1.1)."""
        if not self._stack:
            return EMPTY_ROOT
        root = self._stack[-1]
        for left in reversed(self._stack[:-1]):
            root = node_hash(left, root)
        return root

    def copy(self) -> Frontier:
        """An independent frontier at the same place."""
        return Frontier(self.size, self._stack)

    def to_bytes(self) -> bytes:
        """The hashes one after the other, biggest subtree first."""
        return b"".join(self._stack)

    @classmethod
    def from_bytes(cls, size: int, data: bytes) -> Frontier:
        """Raises ValueError when `data` cannot be a frontier of `size` leaves."""
        if len(data) % HASH_BYTES:
            raise ValueError("a frontier is a row of 32-byte hashes")
        return cls(size, [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)])


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The root over leaf hashes."""
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    return frontier.root()


def range_hash(node: Node, start: int, end: int) -> bytes:
    """The hash of the subtree over leaves [start, end), not empty, where `start` is a multiple of its size rounded up to a power of two."""
    count = end - start
    if count.bit_count() == 1:
        level = count.bit_length() - 1
        return node(level, start >> level)
    middle = start + _split(count)
    return node_hash(range_hash(node, start, middle), range_hash(node, middle, end))


def node_of(leaves: Sequence[bytes]) -> Node:
    """A `Node` over leaf hashes in memory, each inner node computed once."""
    known: dict[tuple[int, int], bytes] = {}

    def node(level: int, index: int) -> bytes:
        if level == 0:
            return leaves[index]
        found = known.get((level, index))
        if found is None:
            found = node_hash(node(level - 1, 2 * index), node(level - 1, 2 * index + 1))
            known[level, index] = found
        return found

    return node


def inclusion_proof(node: Node, index: int, size: int) -> tuple[bytes, ...]:
    """The audit path of leaf `index` in the tree of `size` leaves (RFC 9162 §2.1.3.1). Raises ValueError outside 0 ≤ index < size."""
    if not 0 <= index < size:
        raise ValueError(f"no leaf {index} in a tree of {size}")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(range_hash(node, middle, end))
            end = middle
        else:
            path.append(range_hash(node, start, middle))
            start = middle
    return tuple(reversed(path))


def consistency_proof(node: Node, old: int, new: int) -> tuple[bytes, ...]:
    """Proof that the tree of `old` leaves is a prefix of that of `new` (RFC 9162 §2.1.4.1); empty when old is 0 or new. Raises ValueError."""
    if not 0 <= old <= new:
        raise ValueError(f"a tree of {new} leaves has no earlier form of {old}")
    if old in (0, new):
        return ()
    proof: list[bytes] = []
    start, end, whole = 0, new, True
    while end > old:
        middle = start + _split(end - start)
        if old <= middle:
            proof.append(range_hash(node, middle, end))
            end = middle
        else:
            proof.append(range_hash(node, start, middle))
            start, whole = middle, False
    if not whole:
        proof.append(range_hash(node, start, end))
    return tuple(reversed(proof))


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check an audit path (RFC 9162 §2.1.3.2). Raises ProofError."""
    if not 0 <= index < size:
        raise ProofError(f"no leaf {index} in a tree of {size}")
    at, last, computed = index, size - 1, leaf
    for step in proof:
        if last == 0:
            raise ProofError("the inclusion proof is too long")
        if at & 1 or at == last:
            computed = node_hash(step, computed)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            computed = node_hash(computed, step)
        at, last = at >> 1, last >> 1
    if last or computed != root:
        raise ProofError("the inclusion proof does not lead to the root")


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Check that the tree with `old_root` is a prefix of that with `new_root` (RFC 9162 §2.1.4.2). Raises ProofError."""
    if not 0 <= old <= new:
        raise ProofError(f"a tree of {new} leaves has no earlier form of {old}")
    if old in (0, new):
        expected = EMPTY_ROOT if old == 0 else new_root
        if proof or old_root != expected:
            raise ProofError("the roots differ, or a proof came where none is needed")
        return
    path = [old_root, *proof] if old.bit_count() == 1 else list(proof)
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    if not path:
        raise ProofError("the consistency proof is empty")
    first = second = path[0]
    for step in path[1:]:
        if last == 0:
            raise ProofError("the consistency proof is too long")
        if at & 1 or at == last:
            first, second = node_hash(step, first), node_hash(step, second)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            second = node_hash(second, step)
        at, last = at >> 1, last >> 1
    if last or first != old_root or second != new_root:
        raise ProofError("the consistency proof does not lead from the old root to the new one")


def _split(count: int) -> int:
    """The largest power of two smaller than `count` (> 1)."""
    return 1 << (count - 1).bit_length() - 1
