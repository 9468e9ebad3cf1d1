"""Makes and verifies `.signatures.json`, the one signature of an OPA bundle over all its files; it must not judge what the files say.

OPA's verifier is held to the same bytes by a test, and it is the looser one: it takes any hash, any claim, and several ways to name a key.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from lockgate.contract import strictjson
from lockgate.contract.strictjson import StrictJSONError
from lockgate.policy.bundles.archive import MAX_FILES
from lockgate.policy.bundles.digests import ALGORITHMS, file_digest
from lockgate.policy.bundles.keys import BundleKey
from lockgate.policy.port import PolicyLoadError

FILE: Final = ".signatures.json"
MAX_BYTES: Final = 2 << 20
_HEADER: Final = frozenset({"alg", "kid", "typ"})
_CLAIMS: Final = frozenset({"files", "keyid", "scope", "iat", "iss"})


@dataclass(frozen=True, slots=True)
class Verifier:
    """The pinned keys by key id, and the scope a signature must be for (OPA's `scope`; empty: none)."""

    keys: Mapping[str, BundleKey]
    scope: str = ""

    def verify(self, files: Mapping[str, bytes], name: str) -> str:
        """The id of the key that signed exactly these files. Raises PolicyLoadError, naming the file at fault. The steps are the whole check."""
        # 1. One signature, of one key that is pinned here, under the algorithm of that key.
        header, payload, signed, signature = _token(files, name)
        claims = _json(
            payload, name, "payload"
        )  # looked at before it is believed only for the key's name, as `opa sign` gives it
        key = self._key(header, claims, name)
        if not key.verify(signed, signature):
            raise _refuse(name, f"the signature is not by the key {key.id!r}")
        # 2. Its claims: what it is for, and nothing that is not understood.
        self._check_claims(claims, key, name)
        # 3. The files: each once, each with the digest that was signed, none besides.
        listed = _listed(claims.get("files"), name)
        present = set(files) - {FILE}
        for path in sorted(listed.keys() - present):
            raise PolicyLoadError(name, "is in the signature, and missing from the bundle", field=path)
        for path in sorted(present - listed.keys()):
            raise PolicyLoadError(name, "is not in the signature", field=path)
        for path, (algorithm, digest) in listed.items():
            if not hmac.compare_digest(_digest(path, files[path], algorithm, name), digest):
                raise PolicyLoadError(name, "is not what was signed: its digest differs", field=path)
        return key.id

    def _key(self, header: Mapping[str, Any], claims: Mapping[str, Any], name: str) -> BundleKey:
        if set(header) - _HEADER:
            raise _refuse(name, f"the header holds {sorted(set(header) - _HEADER)[0][:64]!r}, which is not understood")
        named = str(header.get("kid", claims.get("keyid", "")))
        key = self.keys.get(named)
        if key is None:
            known = ", ".join(sorted(self.keys)) or "none"
            raise _refuse(name, f"the signature is by the key {named[:80]!r}, which is not pinned here ({known})")
        if header.get("alg") != key.algorithm:
            said = str(header.get("alg"))[:16]
            raise _refuse(name, f"the header says algorithm {said!r}; the key {key.id!r} is one for {key.algorithm}")
        return key

    def _check_claims(self, claims: Mapping[str, Any], key: BundleKey, name: str) -> None:
        if set(claims) - _CLAIMS:
            raise _refuse(
                name, f"the payload holds the claim {sorted(set(claims) - _CLAIMS)[0][:64]!r}, which is not understood"
            )
        if claims.get("keyid", key.id) != key.id:
            raise _refuse(name, "header and claims name two keys")
        if claims.get("scope", "") != self.scope:
            raise _refuse(
                name, f"the signature is for the scope {str(claims.get('scope', ''))[:80]!r}, not {self.scope!r}"
            )


def sign_files(files: Mapping[str, bytes], key: BundleKey, scope: str = "") -> bytes:
    """`.signatures.json` for these files; one that is among them is replaced. Raises PolicyLoadError for a file OPA could not hash."""
    entries = [
        {"name": path, "hash": _digest(path, files[path], "SHA-256", "bundle"), "algorithm": "SHA-256"}
        for path in sorted(files)
        if path != FILE
    ]
    claims: dict[str, Any] = {"files": entries, "keyid": key.id} | ({"scope": scope} if scope else {})
    signed = _part({"alg": key.algorithm, "kid": key.id, "typ": "JWT"}) + b"." + _part(claims)
    token = signed + b"." + _encode(key.sign(signed))
    return (json.dumps({"signatures": [token.decode()]}) + "\n").encode()


def _token(files: Mapping[str, bytes], name: str) -> tuple[Mapping[str, Any], bytes, bytes, bytes]:
    """Header, payload, what was signed, and the signature."""
    if FILE not in files:
        raise PolicyLoadError(
            name, "is missing: the bundle is not signed; sign it with `lockgate policy bundle sign`", field=FILE
        )
    document = _json(files[FILE], name, "")
    tokens = document.get("signatures")
    if (
        set(document) != {"signatures"}
        or not isinstance(tokens, list)
        or len(tokens) != 1
        or not isinstance(tokens[0], str)
    ):
        raise _refuse(name, "must be {signatures: [one JWT]}")
    parts = tokens[0].split(".")
    if len(parts) != 3:
        raise _refuse(name, "its signature is no JWT of three parts")
    header, payload, signature = (_decode(part, name) for part in parts)
    return _json(header, name, "header"), payload, ".".join(parts[:2]).encode(), signature


def _listed(entries: Any, name: str) -> dict[str, tuple[str, str]]:
    if not isinstance(entries, list) or not 0 < len(entries) <= MAX_FILES:
        raise _refuse(name, f"`files` must list 1 to {MAX_FILES} files")
    listed: dict[str, tuple[str, str]] = {}
    for entry in entries:
        if not isinstance(entry, dict) or set(entry) != {"name", "hash", "algorithm"}:
            raise _refuse(name, "each of `files` must be {name, hash, algorithm}")
        path, digest, algorithm = (str(entry[field]) for field in ("name", "hash", "algorithm"))
        if path in listed:
            raise _refuse(name, f"lists {path[:80]!r} twice")
        if algorithm not in ALGORITHMS:
            raise _refuse(name, f"hashes {path[:80]!r} by {algorithm[:16]!r}; only {', '.join(ALGORITHMS)} count")
        listed[path] = algorithm, digest
    return listed


def _digest(path: str, content: bytes, algorithm: str, name: str) -> str:
    try:
        return file_digest(path, content, algorithm)
    except StrictJSONError as error:
        raise PolicyLoadError(name, str(error), field=path) from None


def _json(content: bytes, name: str, part: str) -> Mapping[str, Any]:
    try:
        document = strictjson.loads(content, max_bytes=MAX_BYTES, max_depth=8)
    except StrictJSONError as error:
        raise _refuse(name, f"{part}: {error}" if part else str(error)) from None
    if not isinstance(document, dict):
        raise _refuse(name, f"{part}: must be an object" if part else "must be an object")
    return document


def _decode(part: str, name: str) -> bytes:
    """Base64url without padding, in its one spelling."""
    try:
        raw = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = None
    if raw is None or _encode(raw).decode() != part:
        raise _refuse(name, "its signature is not base64url")
    return raw


def _part(document: Mapping[str, Any]) -> bytes:
    return _encode(json.dumps(document, separators=(",", ":"), sort_keys=True).encode())


def _encode(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def _refuse(name: str, problem: str) -> PolicyLoadError:
    return PolicyLoadError(name, problem, field=FILE)
