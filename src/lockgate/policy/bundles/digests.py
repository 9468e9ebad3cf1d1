"""What OPA hashes of a bundle's file, so that either can check the other's signature; it reads no archive and trusts nothing.

Of most files it is the bytes. Of `.manifest` and data files it is the document: objects with their keys in order, numbers as they are written,
strings as Go's encoder writes them (OPA v1/bundle/hash.go).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any, Final

from lockgate.contract import strictjson
from lockgate.contract.strictjson import StrictJSONError

ALGORITHMS: Final = {"SHA-256": hashlib.sha256, "SHA-384": hashlib.sha384, "SHA-512": hashlib.sha512}
"""Those of OPA's that are still believed."""

_STRUCTURED: Final = frozenset({".manifest", "data.json"})
_GO_ESCAPES: Final = re.compile("[\u2028\u2029]")


class _Number(str):
    """A number as it is written: to OPA's hash 1.0 and 1 are two."""

    __slots__ = ()


def file_digest(path: str, content: bytes, algorithm: str = "SHA-256") -> str:
    """The hexadecimal digest of one file. Raises StrictJSONError for a structured file that is no strict JSON."""
    digest = ALGORITHMS[algorithm]()
    if path.rpartition("/")[2] in _STRUCTURED:
        strictjson.loads(content, max_bytes=len(content), max_depth=MAX_DEPTH)  # one meaning, bounded depth
        for piece in _walk(_as_written(content.decode("utf-8"))):
            digest.update(piece.encode("utf-8"))
    else:
        digest.update(content)
    return digest.hexdigest()


MAX_DEPTH: Final = 64


def _as_written(text: str) -> Any:
    return strictjson.decoder(dict, _Number, _Number, _never)(text)


def _never(text: str) -> Any:
    raise StrictJSONError(f"{text} is not JSON")


def _walk(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield "{"
        for index, key in enumerate(sorted(value)):
            yield ("," if index else "") + _text(key) + ":"
            yield from _walk(value[key])
        yield "}"
    elif isinstance(value, list):
        yield "["
        for index, item in enumerate(value):
            if index:
                yield ","
            yield from _walk(item)
        yield "]"
    elif isinstance(value, _Number):
        yield str(value)
    elif isinstance(value, str):
        yield _text(value)
    else:
        yield json.dumps(value)


def _text(value: str) -> str:
    """A string as Go's encoder writes it with HTML escaping off."""
    return _GO_ESCAPES.sub(lambda found: f"\\u{ord(found.group()):04x}", json.dumps(value, ensure_ascii=False))
