"""Strict frames: what goes in comes out, and everything that is not strict is refused by kind."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.wire.frames import MAX_DEPTH, MAX_VALUES, FrameBuffer, FrameError, decode, encode, frame, read_frame

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**18)
    | st.floats(allow_nan=False, allow_infinity=False)
    # text without surrogates, which UTF-8 cannot carry
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc"), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text("abc"), VALUES, max_size=5), st.integers(1, 7))
def test_messages_survive_any_fragmentation(message, size):
    data = encode(message) + encode({"next": 1})
    buffer = FrameBuffer()
    taken = []
    for start in range(0, len(data), size):
        buffer.feed(data[start : start + size])
        while (payload := buffer.take(1 << 20)) is not None:
            taken.append(decode(payload))
    assert taken == [message, {"next": 1}]
    assert len(buffer) == 0


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b'"text"',
        b'{"a":1,"a":1}',
        b'{"a":{"b":1,"b":2}}',
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b'{"a":' + b"9" * 21 + b"}",
        b'{"a":"\\ud800"}',
        b'{"a":"\xff"}',
        b"\xef\xbb\xbf{}",
        b"{} {}",
        b'{"a":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}",
        b"[" * 100_000,
        b'{"a":[' + b"0," * MAX_VALUES + b"0]}",
    ],
)
def test_what_is_not_strict_is_malformed(payload):
    with pytest.raises(FrameError) as refused:
        decode(payload)
    assert refused.value.kind == "malformed"


def test_the_deepest_allowed_message_passes():
    payload = b'{"a":' + b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1) + b"}"
    assert decode(payload)


def test_a_header_alone_is_enough_to_refuse_what_is_too_large():
    buffer = FrameBuffer()
    buffer.feed((101).to_bytes(4, "big"))
    with pytest.raises(FrameError) as refused:
        buffer.take(100)
    assert refused.value.kind == "oversize"


@pytest.mark.parametrize("message", [{"a": float("nan")}, {"a": object()}, {"a": "\ud800"}])
def test_what_cannot_be_read_back_is_not_written(message):
    with pytest.raises(FrameError):
        encode(message)


def test_the_end_of_the_stream_has_its_own_kind():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(frame(b"{}")[:5])
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(FrameError) as refused:
            read_frame(ours)
    assert refused.value.kind == "eof"
