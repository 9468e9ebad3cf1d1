"""Reads what an OPA answered: which revision spoke, in which version, and the value. Whatever is not exactly that denies."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from lockgate.contract.strictjson import NotJSON, StrictJSONError, decoder
from lockgate.policy.failure import EvaluationFailed
from lockgate.wire.response import Response

OUTPUT: Final = "lockgate.engine.output"
REVISION: Final = "lockgate.engine.revision"
UNAVAILABLE: Final = "lockgate.engine.unavailable"
_VERSION: Final = re.compile(r"[0-9A-Za-z.+-]{1,64}")
_EVALUATION_ERRORS: Final = frozenset(
    {"eval_internal_error", "eval_cancel_error", "eval_conflict_error", "eval_type_error", "eval_with_merge_error"}
)
_INT64, _UINT64 = 1 << 63, 1 << 64


@dataclass(frozen=True, slots=True)
class Answer:
    """`revision` is that of the one bundle that was evaluated; `value` is None where the decision is undefined."""

    revision: str
    version: str
    value: Any
    defined: bool


def read(response: Response) -> Answer:
    """The answer of `POST /v1/data/…?provenance`. Raises EvaluationFailed, never quoting what came."""
    if response.status != 200:
        raise _refused(response)
    document = _json(response.body)
    provenance = document.get("provenance")
    if not isinstance(provenance, Mapping):
        raise EvaluationFailed(OUTPUT, "OPA's answer does not say where it comes from")
    version = provenance.get("version")
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        raise EvaluationFailed(OUTPUT, "OPA's answer does not name OPA's version")
    return Answer(_revision(provenance), version, document.get("result"), "result" in document)


def _revision(provenance: Mapping[str, Any]) -> str:
    """The store's transaction that evaluated the decision also read this: OPA cannot mix two revisions in one answer."""
    bundles = provenance.get("bundles")
    found = list(bundles.values()) if isinstance(bundles, Mapping) else []
    revisions = [item.get("revision") for item in found if isinstance(item, Mapping)]
    if len(found) != 1 or not isinstance(revisions[0], str):
        # Another bundle beside ours could define what our rules look at, and nobody here has verified it.
        raise EvaluationFailed(REVISION, f"OPA has {len(found)} bundles loaded, and must have one")
    return revisions[0]


def _refused(response: Response) -> EvaluationFailed:
    status = response.status
    if 300 <= status < 400:
        return EvaluationFailed(UNAVAILABLE, f"OPA answered with a redirect ({status}), and none is followed")
    if status in (401, 403):
        return EvaluationFailed(UNAVAILABLE, f"OPA does not let this gateway ask ({status})")
    if status == 500:
        return _unevaluated(response.body)
    return EvaluationFailed(UNAVAILABLE, f"OPA answered with status {status}")


def _unevaluated(body: bytes) -> EvaluationFailed:
    """An evaluation that ended in errors. Their texts may quote the input: they are looked at, and not taken."""
    try:
        errors = _json(body).get("errors")
    except EvaluationFailed:
        errors = None
    for error in errors if isinstance(errors, list) else []:
        code, message = (str(error.get(part)) if isinstance(error, Mapping) else "" for part in ("code", "message"))
        if code == "eval_builtin_error" and "unknown time zone" in message:
            return EvaluationFailed("lockgate.engine.time_zones")
        if code == "eval_builtin_error":
            return EvaluationFailed("lockgate.engine.builtin", "a function that the policy called failed")
        if code in _EVALUATION_ERRORS:
            return EvaluationFailed("lockgate.engine.trap", f"OPA could not evaluate: {code}")
    return EvaluationFailed(UNAVAILABLE, "OPA answered with status 500")


def _json(body: bytes) -> dict[str, Any]:
    """An object without a key that stands twice. Raises EvaluationFailed."""
    try:
        document = _decode(body.decode("utf-8"))
    except UnicodeDecodeError:
        raise EvaluationFailed(OUTPUT, "OPA's answer is not UTF-8") from None
    except (StrictJSONError, NotJSON, ValueError, RecursionError):
        raise EvaluationFailed(OUTPUT, "OPA's answer is no JSON that every reader reads alike") from None
    if not isinstance(document, dict):
        raise EvaluationFailed(OUTPUT, "OPA's answer is no JSON object")
    return document


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise StrictJSONError("a key stands twice in one object")
    return found


def _integer(text: str) -> int | float:
    """As the embedded engine reads it: exact within 64 bits, else the nearest double."""
    if len(text) <= 20 and -_INT64 <= (number := int(text)) < _UINT64:
        return number
    return _real(text)


def _real(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise StrictJSONError("a number is no finite double")
    return number


def _constant(_: str) -> Any:
    raise StrictJSONError("no JSON")


_decode = decoder(_pairs, _integer, _real, _constant)
