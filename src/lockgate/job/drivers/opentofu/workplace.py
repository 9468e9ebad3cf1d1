"""Lays out what one engine run needs in scratch: a copy of the source, the override file, variables, an own CLI configuration and environment.

It must not let anything from outside the sealed source steer the engine, or a provider come from anywhere but the mirror.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from lockgate.contract.snapshot import SnapshotError
from lockgate.job.drivers.opentofu import lockfile
from lockgate.job.drivers.opentofu.lockfile import Locked
from lockgate.job.drivers.opentofu.variables import given_variables, variables_file
from lockgate.job.drivers.port import StageContext, StageRefused
from lockgate.job.source import walk

OVERRIDE = "zz_lockgate_override.tf.json"
STATE_FILE = "terraform.tfstate"
PROGRAMS = {"opentofu": "tofu", "terraform": "terraform"}
_SETTINGS = {"engine", "state", "variables", "environment"}
_STATES = ("runner", "backend")
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_STEERS = re.compile(
    r"(TF|TOFU|LD|GODEBUG|GO[A-Z]+|CHECKPOINT|PATH|HOME|TMPDIR|.*_PROXY|SSL_.*|BASH_ENV|ENV|IFS)(_.*)?"
)
_ENVIRONMENT_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,63}", re.ASCII)
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
_MAX_CREDENTIAL = 64 << 10


@dataclass(frozen=True, slots=True)
class Workplace:
    """Where the engine runs: `top` the copy of the source, `root` the root module in it (working directory), `data` the engine's own directory,
    `plan` where a plan is written, `variables` the variables file, `state` the runner's state file as the engine finds it from `root`, or None.

    Code of the source may run in here and change the copy: what counts is `sealed`, the root module in the sealed source, and `override`, the bytes of
    our own file beside it (none: no file).
    """

    top: Path
    root: Path
    data: Path
    plan: Path
    variables: Path
    program: Path
    env: dict[str, str]
    state: str | None = None
    sealed: Path | None = None
    override: bytes = b""


def lay_out(ctx: StageContext) -> Workplace:
    """The workplace of a plan, check, apply, verify or read stage. Raises StageRefused naming the field; nothing was started."""
    bare = lay_out_bare(ctx)
    entry = _entry(ctx)
    variables = given_variables(ctx)
    top = bare.root.parent / "source"
    _copy(ctx.source, top)
    root = top / entry
    state = None
    if ctx.inputs.settings["state"] == "runner":
        if ctx.state is None:
            raise StageRefused("settings.state: is runner, but the runner gave this stage no state")
        state = os.path.relpath(ctx.state / STATE_FILE, root)
    override = _override(state, variables)
    if (root / OVERRIDE).exists():
        raise StageRefused(f"entry: the root module has a file {OVERRIDE}; that name is Lockgate's own")
    if override:
        (root / OVERRIDE).write_bytes(override)
    bare.variables.touch(mode=0o600)
    bare.variables.write_text(variables_file(variables), "ascii")
    return replace(bare, top=top, root=root, state=state, sealed=ctx.source / entry, override=override)


def lay_out_bare(ctx: StageContext) -> Workplace:
    """A workplace whose root module is an empty directory: what a derive stage has. Raises StageRefused naming the field."""
    program = _program(ctx)
    work = ctx.scratch / "lockgate-opentofu"
    for directory in (work, work / "home", work / "bare", work / "no-providers"):
        directory.mkdir(mode=0o700)
    mirror = ctx.providers if ctx.providers is not None and ctx.providers.is_dir() else work / "no-providers"
    (work / "cli.tfrc").write_text(_cli_configuration(mirror), "utf-8")
    env = _environment(ctx, program, work)
    bare = work / "bare"
    return Workplace(bare, bare, work / "data", work / "plan", work / "arguments.tfvars.json", program, env)


def locked_providers(place: Workplace) -> tuple[Locked, ...]:
    """What the lock file of the sealed source pins; nothing without one. Raises StageRefused."""
    path = (place.sealed or place.root) / lockfile.NAME
    return lockfile.parse(path.read_bytes(), f"entry: {lockfile.NAME}") if path.exists() else ()


def _program(ctx: StageContext) -> Path:
    settings = ctx.inputs.settings
    for name in settings:
        if name not in _SETTINGS:
            raise StageRefused(f"settings.{name[:80]}: is not known; known are {', '.join(sorted(_SETTINGS))}")
    engine = settings.get("engine")
    if not isinstance(engine, str) or engine not in PROGRAMS:
        raise StageRefused(f"settings.engine: must be one of {', '.join(PROGRAMS)}")
    if settings.get("state") not in _STATES:
        raise StageRefused(f"settings.state: must be one of {', '.join(_STATES)}")
    if ctx.tool is None or not os.access(ctx.tool / PROGRAMS[engine], os.X_OK):
        raise StageRefused(
            f"tool: the program {PROGRAMS[engine]} is not here; name it in the runner's `tools.{engine}`"
        )
    return ctx.tool / PROGRAMS[engine]


def _entry(ctx: StageContext) -> str:
    """The root module's directory below the source: a plain relative path, no component of which is a link."""
    given: Any = ctx.inputs.entry
    if not isinstance(given, str) or not given:
        raise StageRefused("entry: must be a directory relative to the top of the source, or . for the top itself")
    pure = PurePosixPath(given)
    if pure.is_absolute() or ".." in pure.parts or given.startswith("-") or not given.isprintable():
        raise StageRefused(f"entry: {given[:200]!a} must be a plain relative path: no .., no leading dash")
    place = ctx.source
    for part in pure.parts:
        place = place / part
        try:
            mode = place.lstat().st_mode
        except OSError:
            raise StageRefused(f"entry: the source has no directory {given[:200]!a}") from None
        if not stat.S_ISDIR(mode):
            raise StageRefused(f"entry: {given[:200]!a} is no directory of the source; links are not followed")
    return str(pure)


def _copy(source: Path, top: Path) -> None:
    """The engine wants to write beside the configuration; a sealed source is read-only. Links and special files are refused, not followed."""
    top.mkdir(mode=0o700)
    try:
        for entry in walk(source):
            place = top / entry.path
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.copyfile(source / entry.path, place, follow_symlinks=False)
            place.chmod(0o700 if entry.executable else 0o600)
    except SnapshotError as error:
        raise StageRefused(f"source: {error}") from None


def _override(state: str | None, variables: dict[str, Any]) -> bytes:
    """One file that replaces the source's backend, and that no configuration accepts which does not declare every given variable; empty: no need."""
    override: dict[str, Any] = {}
    if state is not None:
        override["terraform"] = {"backend": {"local": {"path": state}}}
    if variables:
        override["variable"] = {name: {} for name in sorted(variables)}
    return json.dumps(override, sort_keys=True).encode() if override else b""


def _cli_configuration(mirror: Path) -> str:
    """With an explicit `provider_installation` nothing else counts: no registry, no directory of the source's or the user's own, no cache."""
    text = str(mirror)
    if not text.isprintable() or any(char in text for char in '"\\$%'):
        raise StageRefused("providers: the mirror's path cannot be written into a CLI configuration")
    return (
        f'disable_checkpoint = true\nprovider_installation {{\n  filesystem_mirror {{\n    path = "{text}"\n  }}\n}}\n'
    )


def _environment(ctx: StageContext, program: Path, work: Path) -> dict[str, str]:
    """Built from nothing: no TF_VAR_, TF_CLI_ARGS or TF_WORKSPACE of anybody."""
    env = _from_credentials(ctx) | ctx.proxy_environment
    env |= {
        "PATH": f"{program.parent}:{_SYSTEM_PATH}",
        "HOME": str(work / "home"),
        # Providers listen on Unix sockets below it, whose paths must be short; in a sandbox it is the sandbox's own.
        "TMPDIR": "/tmp",  # noqa: S108
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "CHECKPOINT_DISABLE": "1",
        "TF_IN_AUTOMATION": "1",
        "TF_INPUT": "0",
        "TF_CLI_CONFIG_FILE": str(work / "cli.tfrc"),
        "TF_DATA_DIR": str(work / "data"),
    }
    if ctx.credentials is not None:
        env["LOCKGATE_CREDENTIALS"] = str(ctx.credentials)
    return env


def _from_credentials(ctx: StageContext) -> dict[str, str]:
    """Environment variables whose values are credential files of this attempt; a stage without that file runs without the variable."""
    wanted = ctx.inputs.settings.get("environment", {})
    if not isinstance(wanted, dict):
        raise StageRefused("settings.environment: must be an object")
    found = {}
    for name, file in wanted.items():
        field = f"settings.environment.{str(name)[:80]}"
        if not _ENVIRONMENT_NAME.fullmatch(name) or _STEERS.fullmatch(name):
            raise StageRefused(f"{field}: this name steers the engine or the sandbox itself, or is none; use another")
        if not isinstance(file, str) or not _FILE_NAME.fullmatch(file):
            raise StageRefused(f"{field}: must be the name of a credential file")
        path = ctx.credentials / file if ctx.credentials is not None else None
        if path is not None and path.is_file():
            with path.open("rb") as stream:
                data = stream.read(_MAX_CREDENTIAL + 1)
            if len(data) > _MAX_CREDENTIAL or b"\0" in data:
                raise StageRefused(f"{field}: the credential is larger than {_MAX_CREDENTIAL} bytes, or holds a NUL")
            found[name] = os.fsdecode(data).rstrip("\r\n")
    return found
