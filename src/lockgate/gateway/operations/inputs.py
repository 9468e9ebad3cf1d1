"""Keeps the bytes that policy evaluated: whole, and a plan in them once however often it was asked about; it must not change a byte of them.

Decisions of one operation (plan, apply at lease and start, votes) carry the same plan: it is cut out, compressed and named by its digest,
so that the store holds it once (ADR 32).
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from lockgate.contract.canonical import sha256
from lockgate.policy.input import encode_input

SHARED_FROM: Final = 1 << 10
"""A plan smaller than this (bytes of JSON) stays where it is: a row of its own would cost more."""

MAX_PART: Final = 64 << 20
"""More than any engine accepts as input."""


class InputDamaged(ValueError):
    """A kept input is not what was kept: the store was damaged or changed. Restore a backup; `lockgate audit verify` says what else changed."""


@dataclass(frozen=True, slots=True)
class SharedPart:
    """A piece of input that several records share: `packed` is zlib of the bytes whose SHA-256 is `sha256`."""

    sha256: str
    packed: bytes

    def data(self) -> bytes:
        """The piece. Raises InputDamaged."""
        try:
            stream = zlib.decompressobj()
            data = stream.decompress(self.packed, MAX_PART)
        except zlib.error as error:
            raise InputDamaged(f"a part of its input cannot be unpacked: {error}") from None
        if not stream.eof or sha256(data) != self.sha256:
            raise InputDamaged("a part of its input is not the one that was kept")
        return data


@dataclass(frozen=True, slots=True)
class KeptInput:
    """The bytes that were evaluated (`policy.input.encode_input`): `head`, the shared part if there is one, `tail`."""

    head: bytes
    part: SharedPart | None = None
    tail: bytes = b""

    @property
    def sha256(self) -> str:
        """The digest of what is kept, the shared part by its own."""
        shared = self.part.sha256 if self.part is not None else ""
        return sha256(sha256(self.head).encode() + shared.encode() + sha256(self.tail).encode())

    def data(self) -> bytes:
        """All of it. Raises InputDamaged."""
        return self.head if self.part is None else self.head + self.part.data() + self.tail


def keep_input(document: Mapping[str, Any], evaluated: bytes = b"") -> KeptInput:
    """Policy input v1 as it is kept: `evaluated`, which must be its encoding; made here where nothing was. Costs milliseconds for a large plan.

    Raises DocumentRefused for what JSON cannot say.
    """
    whole = evaluated or encode_input(document)
    if not document["plan"]:
        return KeptInput(whole)
    # The encoding sorts its keys, so that what stands before and after the plan is the encoding of the keys before and after it.
    head = encode_input({key: value for key, value in document.items() if key < "plan"})[:-1] + b',"plan":'
    tail = b"," + encode_input({key: value for key, value in document.items() if key > "plan"})[1:]
    plan = whole[len(head) : -len(tail)]
    if len(plan) < SHARED_FROM or not (whole.startswith(head) and whole.endswith(tail)):
        return KeptInput(whole)
    return KeptInput(head, SharedPart(sha256(plan), zlib.compress(plan, 1)), tail)
