"""Opens a plan file as hostile bytes and says what it holds; it must not extract anything to disk or trust a name in it.

A plan file is a zip without integrity of its own. Only the layout that the engines write is read, so that this reader and the engine's cannot
see two different files in the same bytes (TRUST §2).
"""

from __future__ import annotations

import io
import json
import re
import struct
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lockgate.contract.jobchannel import MAX_PLAN_FILE_BYTES
from lockgate.contract.state import StateMark
from lockgate.contract.strictjson import StrictJSONError, loads
from lockgate.job.drivers.opentofu import lockfile
from lockgate.job.drivers.opentofu.encoded import Malformed, fields, unpack
from lockgate.job.drivers.opentofu.lockfile import Locked
from lockgate.job.drivers.port import StageRefused

MAX_MEMBERS = 4_096
MAX_UNPACKED_BYTES = 64 << 20
_MODULES = "tfconfig/modules.json"
_REQUIRED = ("tfplan", "tfstate", "tfstate-prev", _MODULES, lockfile.NAME)
_CONFIG = re.compile(r"tfconfig/m-(?P<key>[^/\\\0]{0,1000})/(?P<file>[^/\\\0]{1,255})")
_END = struct.Struct("<4s4H2LH")
_DEFLATED, _STREAMED, _UTF8 = 8, 0x8, 0x800
_FIX = "; plan again with the engine this target names"


@dataclass(frozen=True, slots=True)
class Backend:
    """Where a plan's state is kept; `config` as the engine evaluated it."""

    type: str
    config: dict[str, Any]
    workspace: str


@dataclass(frozen=True, slots=True)
class PlanFile:
    """What a plan file holds. `state`: of the state it was made against, None when there was none yet. `modules`: directory by module key, relative
    to the root module; `files`: bytes by module key and file name."""

    engine_version: str
    backend: Backend
    state: StateMark | None
    providers: tuple[Locked, ...]
    modules: dict[str, str]
    files: dict[str, dict[str, bytes]]
    ephemeral: frozenset[str] = frozenset()
    """Names of variables whose values the plan does not hold, among other texts."""
    variables: dict[str, Any] = field(default_factory=dict, repr=False)
    """Those of the root module whose values it holds: the engine applies with them."""


def read_plan_file(path: Path) -> PlanFile:
    """The plan file at `path`. Raises StageRefused saying what is wrong with it."""
    with path.open("rb") as stream:
        data = stream.read(MAX_PLAN_FILE_BYTES + 1)
    if len(data) > MAX_PLAN_FILE_BYTES:
        raise StageRefused(f"plan: it is larger than {MAX_PLAN_FILE_BYTES >> 20} MiB; split the root module")
    members = _members(data)
    version, backend = _planned(members["tfplan"])
    return PlanFile(
        engine_version=version,
        backend=backend,
        state=state_mark(members["tfstate"], "plan: its prior state"),
        providers=lockfile.parse(members[lockfile.NAME], "plan"),
        modules=_modules(members[_MODULES]),
        files=_files(members),
        variables=_variables(members["tfplan"]),
        ephemeral=_ephemeral(members["tfplan"]),
    )


def state_mark(data: bytes, where: str) -> StateMark | None:
    """Lineage and serial of a state file; None for one that was never written. Raises StageRefused."""
    try:
        state = json.loads(data)
        if not isinstance(state, dict) or not isinstance(state["serial"], int) or not isinstance(state["lineage"], str):
            raise ValueError("no serial and lineage")
        return StateMark(state["lineage"], state["serial"]) if state["lineage"] else None
    except (ValueError, KeyError, RecursionError) as error:
        raise StageRefused(f"{where} cannot be read: {error}"[:300]) from None


def _members(data: bytes) -> dict[str, bytes]:
    """Every member by name, when the zip is laid out as the engines do it."""
    count, directory = _end(data)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            if len(infos) != count:
                raise StageRefused(f"plan: its directory is not what its end says{_FIX}")
            _check_layout(infos, directory)
            found: dict[str, bytes] = {}
            for info in infos:
                with archive.open(info) as stream:
                    content = stream.read(info.file_size + 1)
                if len(content) != info.file_size:
                    raise StageRefused(f"plan: {info.filename[:100]!a} is not as large as it says{_FIX}")
                found[info.filename] = content
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, struct.error, ValueError) as error:
        raise StageRefused(f"plan: it is damaged or was changed ({str(error)[:200]!a}){_FIX}") from None
    for name in _REQUIRED:
        if name not in found:
            raise StageRefused(f"plan: it has no {name}, so no engine wrote it{_FIX}")
    return found


def _end(data: bytes) -> tuple[int, int]:
    """Number of members and offset of the directory. Everything between first and last byte must be accounted for: no prefix, no comment, no zip64."""
    if not data.startswith(b"PK\x03\x04"):
        hint = (
            " (a plan that is encrypted by the source's own `encryption` block cannot be read)"
            if data[:1] == b"{"
            else ""
        )
        raise StageRefused(f"plan: these bytes are no plan file{hint}{_FIX}")
    if len(data) < _END.size or data[-_END.size :][:4] != b"PK\x05\x06":
        raise StageRefused(f"plan: it is cut off, or something was added at its end{_FIX}")
    _, disk, first_disk, here, count, size, offset, comment = _END.unpack(data[-_END.size :])
    if disk or first_disk or comment or here != count or count > MAX_MEMBERS or offset + size + _END.size != len(data):
        raise StageRefused(f"plan: it is not laid out as an engine writes it (at most {MAX_MEMBERS} members){_FIX}")
    return count, offset


def _check_layout(infos: list[zipfile.ZipInfo], directory: int) -> None:
    names: set[str] = set()
    unpacked, at = 0, -1
    for info in infos:
        name, shown = info.filename, ascii(info.filename[:100])
        if name in names:
            raise StageRefused(f"plan: it holds {shown} twice{_FIX}")
        if name not in _REQUIRED and (
            not (path := _CONFIG.fullmatch(name)) or path["file"] in (".", "..") or ".." in name.split("/")
        ):
            raise StageRefused(f"plan: {shown} is nothing that belongs in a plan file{_FIX}")
        if info.orig_filename != name or info.compress_type != _DEFLATED or info.flag_bits & ~_UTF8 != _STREAMED:
            raise StageRefused(f"plan: it was packed by another program than an engine (at {shown}){_FIX}")
        if not at < info.header_offset < directory:
            raise StageRefused(f"plan: its members overlap or are out of order{_FIX}")
        names.add(name)
        unpacked, at = unpacked + info.file_size, info.header_offset + info.compress_size
        if unpacked > MAX_UNPACKED_BYTES:
            raise StageRefused(
                f"plan: unpacked it is larger than {MAX_UNPACKED_BYTES >> 20} MiB; split the root module"
            )


def _planned(data: bytes) -> tuple[str, Backend]:
    """Engine version and backend out of `tfplan` (planfile.proto: 14 and 13; in Backend 1 type, 2 config, 3 workspace; in DynamicValue 1 msgpack)."""
    try:
        version = _single(data, 14)
        backend = _single(data, 13)
        config = unpack(_single(_single(backend, 2), 1))
        if not isinstance(config, dict):
            raise Malformed("the backend's configuration is no map")
        return version.decode(), Backend(_single(backend, 1).decode(), config, _single(backend, 3).decode())
    except (Malformed, UnicodeDecodeError) as error:
        raise StageRefused(f"plan: its description of itself cannot be read ({error}){_FIX}") from None


def _ephemeral(data: bytes) -> frozenset[str]:
    """OpenTofu names them in field 22, which is something else in Terraform, and Terraform in field 28: only names of variables count among these."""
    return frozenset(
        value.decode("utf-8", "replace") for key, value in fields(data) if key in (22, 28) and isinstance(value, bytes)
    )


def _variables(data: bytes) -> dict[str, Any]:
    """The variables out of `tfplan` (field 2, a map: 1 name, 2 DynamicValue, whose msgpack is a type and the value)."""
    found: dict[str, Any] = {}
    try:
        for number, item in fields(data):
            if number != 2:
                continue
            if not isinstance(item, bytes):
                raise Malformed("a variable is no message")
            name, value = _single(item, 1).decode(), unpack(_single(_single(item, 2), 1))
            if name in found or not isinstance(value, list) or len(value) != 2:
                raise Malformed("a variable twice, or one without a type")
            found[name] = value[1]
    except (Malformed, UnicodeDecodeError) as error:
        raise StageRefused(f"plan: its variables cannot be read ({error}){_FIX}") from None
    return found


def _single(message: bytes, number: int) -> bytes:
    found = [value for key, value in fields(message) if key == number]
    if len(found) != 1 or not isinstance(found[0], bytes):
        raise Malformed(f"field {number} must be there once")
    return found[0]


def _modules(data: bytes) -> dict[str, str]:
    try:
        listed = loads(data, max_bytes=MAX_UNPACKED_BYTES)
        found = {str(item.get("Key", "")): str(item["Dir"]) for item in listed}
        if len(found) != len(listed) or "" not in found:
            raise ValueError("a module twice, or no root module")
    except (StrictJSONError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StageRefused(f"plan: its list of modules cannot be read ({str(error)[:200]}){_FIX}") from None
    return found


def _files(members: dict[str, bytes]) -> dict[str, dict[str, bytes]]:
    found: dict[str, dict[str, bytes]] = {}
    for name, content in members.items():
        path = _CONFIG.fullmatch(name)
        if path is not None:
            found.setdefault(path["key"], {})[path["file"]] = content
    return found
