"""Reads the head of a CONNECT request, strictly and bounded; there is no other request and no second one on a connection."""

from __future__ import annotations

import re
from typing import Final

MAX_HEAD_BYTES: Final = 8 * 1024
MAX_HEADERS: Final = 32
END: Final = b"\r\n\r\n"
# HTTP/1.0 as well: the standard library of Python up to 3.11, and with it many a tool, says so; nothing here depends on it.
_REQUEST_LINE: Final = re.compile(rb"(?P<method>[A-Z]{1,16}) (?P<target>[\x21-\x7e]{1,512}) HTTP/1\.[01]")
_HEADER: Final = re.compile(rb"(?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}):[ \t]*(?P<value>[\x20-\x7e\t\x80-\xff]*)")


class RequestRefused(ValueError):
    """The request cannot be served: `status` for the answer, `kind` one word of why."""

    def __init__(self, status: int, kind: str) -> None:
        super().__init__(kind)
        self.status = status
        self.kind = kind


def authority(head: bytes) -> str:
    """`host:port` as asked for, in lower case, of a whole head without its last empty line. Raises RequestRefused."""
    first, *lines = head.split(b"\r\n")
    request = _REQUEST_LINE.fullmatch(first)
    if request is None:
        raise RequestRefused(400, "malformed_request")
    if request["method"] != b"CONNECT":
        raise RequestRefused(405, "only_connect")
    if len(lines) > MAX_HEADERS:
        raise RequestRefused(431, "too_many_headers")
    asked = request["target"].decode("ascii").lower()
    for line in lines:
        header = _HEADER.fullmatch(line)
        if header is None:
            raise RequestRefused(400, "malformed_request")
        name, value = header["name"].lower(), header["value"].strip().lower()
        if name == b"transfer-encoding" or (name == b"content-length" and value != b"0"):
            raise RequestRefused(400, "request_body")
        if name == b"host" and value not in (asked.encode(), asked.rpartition(":")[0].encode()):
            raise RequestRefused(400, "host_mismatch")
    return asked
