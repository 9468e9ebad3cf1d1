"""Reads the two encodings inside a plan file, Protocol Buffers and MessagePack, as far as a gate needs them; it must not guess at what it does not know."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

_MAX_DEPTH = 36  # a variable may have 32 levels, and stands in a list with its type
_FIXED: dict[int, tuple[str, int]] = {
    0xCA: (">f", 4), 0xCB: (">d", 8), 0xCC: (">B", 1), 0xCD: (">H", 2), 0xCE: (">I", 4), 0xCF: (">Q", 8),
    0xD0: (">b", 1), 0xD1: (">h", 2), 0xD2: (">i", 4), 0xD3: (">q", 8),
}  # fmt: skip
_SIZED: dict[int, tuple[str, str]] = {
    0xC4: ("bin", ">B"), 0xC5: ("bin", ">H"), 0xC6: ("bin", ">I"), 0xD9: ("str", ">B"), 0xDA: ("str", ">H"), 0xDB: ("str", ">I"),
    0xDC: ("list", ">H"), 0xDD: ("list", ">I"), 0xDE: ("map", ">H"), 0xDF: ("map", ">I"),
}  # fmt: skip


class Malformed(ValueError):
    """The bytes are not what they are read as, or use a form that plan files do not."""


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a Protocol Buffers message in order: number, and a varint or the bytes of a length-delimited field. Raises Malformed."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield number, value
            continue
        if kind == 2:
            size, at = _varint(message, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise Malformed(f"a field of wire type {kind}")
        if number == 0 or size > len(message) - at:
            raise Malformed("a field runs past the end of its message")
        yield number, message[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise Malformed("a number that does not end")


def unpack(data: bytes) -> Any:
    """One MessagePack value that fills `data`; extensions (an unknown value, say) are refused. Raises Malformed."""
    value, at = _value(data, 0, 0)
    if at != len(data):
        raise Malformed("bytes after the value")
    return value


def _value(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    if depth > _MAX_DEPTH:
        raise Malformed("nested too deep")
    lead, at = _take(data, at, 1)
    code = lead[0]
    if code < 0x80 or code >= 0xE0:
        return (code if code < 0x80 else code - 256), at
    if code in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[code], at
    if code in _FIXED:
        form, size = _FIXED[code]
        raw, at = _take(data, at, size)
        return struct.unpack(form, raw)[0], at
    if code in _SIZED:
        kind, form = _SIZED[code]
        raw, at = _take(data, at, struct.calcsize(form))
        return _sized(kind, int(struct.unpack(form, raw)[0]), data, at, depth)
    short = {0x80: ("map", 0x0F), 0x90: ("list", 0x0F), 0xA0: ("str", 0x1F), 0xB0: ("str", 0x1F)}.get(code & 0xF0)
    if short is None:
        raise Malformed(f"a value of kind 0x{code:02x}")
    return _sized(short[0], code & short[1], data, at, depth)


def _sized(kind: str, size: int, data: bytes, at: int, depth: int) -> tuple[Any, int]:
    if kind in ("str", "bin"):
        raw, at = _take(data, at, size)
        try:
            return (raw.decode() if kind == "str" else raw), at
        except UnicodeDecodeError:
            raise Malformed("text that is not UTF-8") from None
    if size > len(data) - at:
        raise Malformed("a collection larger than the data")
    items = []
    for _ in range(size * (2 if kind == "map" else 1)):
        item, at = _value(data, at, depth + 1)
        items.append(item)
    if kind == "list":
        return items, at
    keys = items[::2]
    if not all(isinstance(key, str) for key in keys) or len(set(keys)) != size:
        raise Malformed("a map with repeated keys, or with keys that are no text")
    return dict(zip(keys, items[1::2], strict=True)), at


def _take(data: bytes, at: int, size: int) -> tuple[bytes, int]:
    if size > len(data) - at:
        raise Malformed("the data ends early")
    return data[at : at + size], at + size
