"""Every check the job makes before it runs a tool; it must not soften one into a warning."""

from __future__ import annotations

from lockgate.contract import shapes, strictjson, trust
from lockgate.contract.hashing import sha256_hex
from lockgate.contract.jobplaces import MAX_PLAN_FILE_BYTES
from lockgate.contract.snapshot import SnapshotError, snapshot_digest
from lockgate.contract.trust import MAX_ENVELOPE, EnvelopeError
from lockgate.job.source import walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lockgate.contract.grant import Grant, Permit
    from lockgate.contract.keyset import Keyset
    from lockgate.contract.work import InputsDocument

INPUTS_VERSION = 1
MAX_INPUTS_BYTES = 4 << 20
_STAGES = {
    "read": ("read",),
    "plan": ("plan", "derive"),
    "verify": ("verify", "derive"),
    "apply": ("check", "derive", "apply", "verify"),
}


class JobRefused(Exception):
    """The job will not run this. `check` names the check that failed; a retry with the same messages fails again."""

    def __init__(self, check: str, why: str) -> None:
        super().__init__(f"{check}: {why}")
        self.check = check


def trusted_keyset(keyset_file: str, root_key_file: str, now: int) -> Keyset:
    """The keyset the runner mounted, verified under the mounted root key (base64 of 32 raw bytes). `now`: Unix ms. Raises JobRefused."""
    try:
        root = trust.base64_bytes(_bytes(root_key_file).strip())
        return trust.open_keyset(_keyset, _bytes(keyset_file), root, now=now)
    except (OSError, ValueError) as error:
        raise JobRefused("keyset", str(error)) from None


def _bytes(path: str) -> bytes:
    with open(path, "rb") as stream:  # noqa: PTH123 -- pathlib costs 5 ms of the job's start
        return stream.read(MAX_ENVELOPE + 1)


def verified_grant(envelope: str, keyset: Keyset) -> Grant:
    """The grant, signed by a grant key of this deployment. Raises JobRefused."""
    try:
        return trust.read_grant(_grant, envelope.encode(), keyset)
    except (EnvelopeError, UnicodeEncodeError) as error:
        raise JobRefused("grant", str(error)) from None


def _keyset(document: Any) -> Keyset:
    keyset: Keyset = shapes.read(shapes.KEYSET, document)
    return keyset


def _grant(document: Any) -> Grant:
    grant: Grant = shapes.read(shapes.GRANT, document)
    return grant


def _permit(document: Any) -> Permit:
    permit: Permit = shapes.read(shapes.PERMIT, document)
    return permit


def check_stage(stage: str, grant: Grant) -> None:
    """The stage belongs to the phase the grant is for. Raises JobRefused."""
    if stage not in _STAGES.get(grant.phase, ()):
        raise JobRefused("stage", f"{stage} is no stage of a grant for {grant.phase}")


def verified_permit(envelope: str, keyset: Keyset, grant: Grant, grant_envelope: str) -> Permit:
    """A permit for exactly this grant, attempt and fence. Lifetimes are the runner's to check: clocks differ. Raises JobRefused."""
    try:
        permit = trust.read_permit(_permit, envelope.encode(), keyset)
    except (EnvelopeError, UnicodeEncodeError) as error:
        raise JobRefused("permit", str(error)) from None
    if permit.grant_sha256 != trust.envelope_sha256(grant_envelope.encode()):
        raise JobRefused("permit", "grant_sha256 names another grant")
    for field in ("operation", "attempt", "fence", "phase"):
        if getattr(permit, field) != getattr(grant, field):
            raise JobRefused("permit", f"{field} is not the grant's")
    return permit


def check_digest(inputs: str, named: str | None, by: str) -> None:
    """The received inputs are those that `by` (grant or permit) names. Raises JobRefused."""
    if named is None:
        raise JobRefused("inputs", f"the {by} names no inputs_sha256")
    if "sha256:" + sha256_hex(inputs.encode()) != named:
        raise JobRefused("inputs", f"their SHA-256 is not the inputs_sha256 of the {by}")


def read_inputs(inputs: str) -> InputsDocument:
    """The inputs document of text whose digest was checked. Raises JobRefused."""
    try:
        found = strictjson.loads(inputs.encode(), max_bytes=MAX_INPUTS_BYTES)
        document: InputsDocument = shapes.read(shapes.INPUTS_DOCUMENT, found)
    except (strictjson.StrictJSONError, shapes.DocumentError, UnicodeEncodeError) as error:
        raise JobRefused("inputs", str(error)) from None
    if document.version != INPUTS_VERSION:
        raise JobRefused("inputs", f"version must be {INPUTS_VERSION}, not {document.version}")
    return document


def check_source(source: str, inputs: InputsDocument) -> None:
    """The source on disk is the snapshot the inputs name. Raises JobRefused."""
    try:
        found = snapshot_digest(walk(source))
    except (SnapshotError, OSError) as error:
        raise JobRefused("source", str(error)) from None
    if found != inputs.snapshot_sha256:
        raise JobRefused("source", "the files on disk are not the snapshot that was sealed (snapshot_sha256 differs)")


def check_plan_file(plan: str, named: str | None, stage: str) -> None:
    """The plan file on disk is the one the runner names; where none is named, there is none (invariant 3). Raises JobRefused."""
    if named is None:
        if stage == "derive":
            raise JobRefused("plan", "the stage derive needs a plan file and its digest")
        return
    try:
        found = _file_sha256(plan)
    except OSError as error:
        raise JobRefused("plan", f"the plan file cannot be read: {error.strerror}") from None
    if found != named:
        raise JobRefused("plan", "the plan file is not the one the runner names (plan_sha256 differs)")


def _file_sha256(path: str) -> str:
    with open(path, "rb") as stream:  # noqa: PTH123 -- pathlib costs 5 ms of the job's start
        data = stream.read(MAX_PLAN_FILE_BYTES + 1)
    if len(data) > MAX_PLAN_FILE_BYTES:
        raise JobRefused("plan", f"the plan file is larger than {MAX_PLAN_FILE_BYTES >> 20} MiB")
    return "sha256:" + sha256_hex(data)
