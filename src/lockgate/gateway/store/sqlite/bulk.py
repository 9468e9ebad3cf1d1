"""Inserts many rows by few statements; it must not be used where a row may be refused alone.

Every statement gives the interpreter lock away and must win it back from a busy event loop, so their number is what a batch costs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, TypeVar

from lockgate.gateway.store.sqlite.connection import Connection

T = TypeVar("T")

_SIZES = (64, 8, 1)
"""Few sizes, so that the connection's statement cache holds them all."""


def insert(db: Connection, into: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """`into` is `table (columns)`, a constant of the caller's. Raises the database's errors; then some rows may stand: roll back."""
    for some in pieces(rows):
        db.execute(_statement(into, len(some[0]), len(some)), tuple(chain.from_iterable(some)))


def pieces(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """All of them in order, in pieces of few sizes."""
    at = 0
    while at < len(items):
        size = next(size for size in _SIZES if size <= len(items) - at)
        yield items[at : at + size]
        at += size


@lru_cache(maxsize=64)
def _statement(into: str, width: int, size: int) -> str:
    row = f"({', '.join('?' * width)})"
    return f"INSERT INTO {into} VALUES {', '.join([row] * size)}"  # noqa: S608  (constants of this package)
