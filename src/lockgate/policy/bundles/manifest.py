"""Reads and writes a bundle's `.manifest`: revision, roots, and what its maker says of this release. It judges no other file."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from lockgate.contract import strictjson
from lockgate.policy.bundle import ROOT, Release
from lockgate.policy.port import PolicyLoadError

FILE: Final = ".manifest"
MAX_BYTES: Final = 256 << 10
MAX_AGE_SECONDS: Final = 10 * 366 * 24 * 3600
_FIELDS: Final = frozenset({"revision", "roots", "rego_version", "metadata"})
_OURS: Final = frozenset({"format", "sequence", "signed_at", "max_age_seconds"})
_ROOT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(?:/[A-Za-z_][A-Za-z0-9_-]*)*")
_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, slots=True)
class Manifest:
    """`roots` are the parts of `data` that this bundle alone owns; an unsigned one may lack a release."""

    revision: str
    roots: tuple[str, ...]
    release: Release | None


def write_manifest(manifest: Manifest) -> bytes:
    """The bytes of `.manifest`."""
    ours: dict[str, Any] = {"format": 1}
    if manifest.release is not None:
        ours["sequence"] = manifest.release.sequence
        ours["signed_at"] = datetime.fromtimestamp(manifest.release.signed_at, UTC).strftime(_TIME)
        if manifest.release.max_age is not None:
            ours["max_age_seconds"] = manifest.release.max_age
    document = {
        "revision": manifest.revision,
        "roots": list(manifest.roots),
        "rego_version": 1,
        "metadata": {"lockgate": ours},
    }
    return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()


def read_manifest(content: bytes, name: str) -> Manifest:
    """The manifest of a bundle called `name`. Raises PolicyLoadError naming the field."""
    try:
        document = strictjson.loads(content, max_bytes=MAX_BYTES)
    except strictjson.StrictJSONError as error:
        raise PolicyLoadError(name, str(error), field=FILE) from None
    if not isinstance(document, dict):
        raise _refuse(name, "", "must be an object")
    for field in sorted(set(document) - _FIELDS):
        hint = "; an OPA without a Wasm runtime refuses a bundle that names its module" if field == "wasm" else ""
        raise _refuse(name, field, f"is not understood here{hint}")
    revision = document.get("revision")
    if not isinstance(revision, str) or not revision:
        raise _refuse(name, "revision", "must be text")
    if document.get("rego_version", 1) != 1:
        raise _refuse(name, "rego_version", "must be 1")
    return Manifest(revision, _roots(document.get("roots"), name), _release(document.get("metadata", {}), name))


def _roots(value: Any, name: str) -> tuple[str, ...]:
    """Listed, apart from each other, and `lockgate` whole among them: without it another bundle in the same OPA could answer for us."""
    if not isinstance(value, list) or not value or not all(isinstance(root, str) for root in value):
        raise _refuse(name, "roots", f"must be a list of roots, {ROOT!r} among them")
    for root in value:
        if not _ROOT.fullmatch(root):
            raise _refuse(name, "roots", f"{root[:80]!r} is no root: names separated by `/`")
    for index, root in enumerate(value):
        for other in value[:index] + value[index + 1 :]:
            if (root + "/").startswith(other + "/"):
                raise _refuse(name, "roots", f"{root!r} and {other!r} overlap")
    if ROOT not in value:
        raise _refuse(
            name, "roots", f"{ROOT!r} is not among them: another bundle could then answer in this one's place"
        )
    return tuple(value)


def _release(metadata: Any, name: str) -> Release | None:
    ours = metadata.get("lockgate") if isinstance(metadata, dict) else None
    if not isinstance(ours, dict):
        raise _refuse(name, "metadata.lockgate", "is missing; make the bundle with `lockgate policy build`")
    for field in sorted(set(ours) - _OURS):
        raise _refuse(name, f"metadata.lockgate.{field}", "is not known")
    if ours.get("format") != 1:
        raise _refuse(name, "metadata.lockgate.format", "must be 1; a newer bundle needs a newer Lockgate")
    if set(ours) == {"format"}:
        return None
    sequence, signed_at, max_age = ours.get("sequence"), ours.get("signed_at"), ours.get("max_age_seconds")
    if type(sequence) is not int or not 1 <= sequence <= strictjson.MAX_SAFE_INTEGER:
        raise _refuse(name, "metadata.lockgate.sequence", "must be a whole number from 1")
    if max_age is not None and (type(max_age) is not int or not 1 <= max_age <= MAX_AGE_SECONDS):
        raise _refuse(name, "metadata.lockgate.max_age_seconds", f"must be a whole number from 1 to {MAX_AGE_SECONDS}")
    return Release(sequence, _time(signed_at, name), max_age)


def _time(value: Any, name: str) -> int:
    try:
        return int(datetime.strptime(value, _TIME).replace(tzinfo=UTC).timestamp())
    except (TypeError, ValueError):
        raise _refuse(name, "metadata.lockgate.signed_at", "must be a time like 2026-11-27T09:00:00Z") from None


def _refuse(name: str, field: str, problem: str) -> PolicyLoadError:
    return PolicyLoadError(name, problem, field=f"{FILE}: {field}" if field else FILE)
