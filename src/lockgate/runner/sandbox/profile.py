"""The bubblewrap profile: a specification becomes bubblewrap's arguments; pure, it must not touch the host beyond what it is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from lockgate.runner.sandbox.port import CHANNEL_FD_VARIABLE, EGRESS_VARIABLE, Bind, SandboxSpec, SpecRefused

INSIDE_UID: Final = 1000
WORK: Final = "/work"
SCRATCH: Final = ("/dev/shm", "/tmp", WORK)
EGRESS_SOCKET: Final = "/run/lockgate-egress.sock"
MAX_BINDS: Final = 64
MAX_FILES: Final = 64
_SYSTEM_LINKS: Final = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_RESERVED: Final = (
    "/usr",
    "/etc",
    "/proc",
    "/dev",
    "/sys",
    "/tmp",
    EGRESS_SOCKET,
    *(f"/{name}" for name in _SYSTEM_LINKS),
)
_HEX: Final = frozenset("0123456789abcdef")
_BASE_ENVIRONMENT: Final = {
    "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
    "HOME": WORK,
    "TMPDIR": "/tmp",  # the sandbox's own tmpfs
    "LANG": "C.UTF-8",
    "TZ": "UTC",
}


@dataclass(frozen=True)
class HostLayout:
    """What of the host the sandbox sees: top-level links into /usr (name, link text), real directories, and our own /etc."""

    links: tuple[tuple[str, str], ...]
    directories: tuple[str, ...]
    etc: str
    etc_binds: tuple[str, ...]


@dataclass(frozen=True)
class ProfileDescriptors:
    """Inherited descriptors by number: the job's channel, bubblewrap's status report, the seccomp program, the injected files.

    ``egress`` is the host path of the egress proxy's socket, for a stage that has one.
    """

    channel: int
    status: int
    seccomp: int
    files: tuple[int, ...] = ()
    egress: Path | None = None


def _target(text: str, field: str) -> str:
    path = PurePosixPath(text)
    if not path.is_absolute() or ".." in path.parts or str(path) != text or text == "/" or "\0" in text:
        raise SpecRefused(
            f"{field} {text!r}: must be a plain absolute path inside the sandbox, without '..' or a trailing '/'"
        )
    if any(text == reserved or text.startswith(reserved + "/") for reserved in _RESERVED):
        raise SpecRefused(
            f"{field} {text!r}: belongs to the system part of the sandbox; choose a path below {WORK} or a new one"
        )
    return text


def _check_text(values: Sequence[str], field: str) -> None:
    for value in values:
        if "\0" in value or any(0xD800 <= ord(char) <= 0xDFFF for char in value):
            raise SpecRefused(f"{field}: contains a NUL or a lone surrogate; pass plain text")


def check_id(sandbox_id: str) -> None:
    """Ids name directories and control groups, so they are hexadecimal only; raises SpecRefused."""
    if not 16 <= len(sandbox_id) <= 64 or not set(sandbox_id) <= _HEX:
        raise SpecRefused("id: must be 16 to 64 lower-case hexadecimal characters chosen at random")


def check_spec(spec: SandboxSpec) -> None:
    """Refuse a specification that cannot mean what it says; raises SpecRefused naming the field."""
    check_id(spec.id)
    if not spec.argv or not spec.argv[0].startswith("/"):
        raise SpecRefused("argv: must start with the absolute path of a program inside the sandbox")
    _check_text(spec.argv, "argv")
    _check_text([*spec.env.keys(), *spec.env.values()], "env")
    if any(not name or "=" in name for name in spec.env):
        raise SpecRefused("env: a name is empty or contains '='")
    if len(spec.binds) > MAX_BINDS or len(spec.files) > MAX_FILES:
        raise SpecRefused(f"binds, files: at most {MAX_BINDS} and {MAX_FILES}")
    targets = [_target(bind.target, "binds.target") for bind in spec.binds]
    targets += [_target(file.target, "files.target") for file in spec.files]
    if len(set(targets)) != len(targets):
        raise SpecRefused("binds, files: two of them have the same target")
    for bind in spec.binds:
        if not bind.source.is_absolute():
            raise SpecRefused(f"binds.source {bind.source}: must be an absolute host path")
    for name, value in vars(spec.limits).items():
        if not value > 0:
            raise SpecRefused(f"limits.{name}: must be greater than zero, is {value}")


def check_groups(spec: SandboxSpec, *, can_give: bool) -> None:
    """Only groups made for sandboxes, and only by who can give any; raises SpecRefused."""
    for bind in spec.binds:
        if bind.gid is not None and bind.gid < 1000:
            raise SpecRefused(f"binds.gid {bind.gid}: system groups are not given to sandboxes; use one made for it")
        if bind.gid is not None and not can_give:
            raise SpecRefused("binds.gid: an ordinary user cannot give groups; leave it out")


def _isolation(descriptors: ProfileDescriptors) -> list[str]:
    return [
        *("--unshare-all", "--unshare-user", "--disable-userns"),
        *("--uid", str(INSIDE_UID), "--gid", str(INSIDE_UID), "--hostname", "sandbox"),
        *("--cap-drop", "ALL", "--new-session", "--die-with-parent"),
        *("--seccomp", str(descriptors.seccomp), "--json-status-fd", str(descriptors.status)),
    ]


def _system(host: HostLayout, disk_bytes: int) -> list[str]:
    arguments = ["--ro-bind", "/usr", "/usr"]
    for name, text in host.links:
        arguments += ["--symlink", text, f"/{name}"]
    for name in host.directories:
        arguments += ["--ro-bind", f"/{name}", f"/{name}"]
    arguments += ["--ro-bind", host.etc, "/etc"]
    for path in host.etc_binds:
        arguments += ["--ro-bind", path, path]
    arguments += ["--proc", "/proc", "--dev", "/dev"]
    for path in SCRATCH:
        arguments += ["--perms", "0700", "--size", str(disk_bytes), "--tmpfs", path]
    return arguments


def _bind(bind: Bind) -> list[str]:
    return ["--bind" if bind.writable else "--ro-bind", str(bind.source), bind.target]


def bwrap_arguments(spec: SandboxSpec, host: HostLayout, descriptors: ProfileDescriptors) -> list[str]:
    """Bubblewrap's arguments before the command. The last mounts make / and /dev read-only: nothing unbounded is writable."""
    arguments = _isolation(descriptors) + _system(host, spec.limits.disk_bytes)
    for bind in sorted(spec.binds, key=lambda item: item.target):
        arguments += _bind(bind)
    for file, descriptor in zip(spec.files, descriptors.files, strict=True):
        arguments += ["--perms", f"{file.mode & 0o777:04o}", "--ro-bind-data", str(descriptor), file.target]
    environment = _BASE_ENVIRONMENT | dict(spec.env) | {CHANNEL_FD_VARIABLE: str(descriptors.channel)}
    if descriptors.egress is not None:
        arguments += ["--ro-bind", str(descriptors.egress), EGRESS_SOCKET]
        environment[EGRESS_VARIABLE] = EGRESS_SOCKET
    arguments += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", WORK, "--clearenv"]
    for name, value in environment.items():
        arguments += ["--setenv", name, value]
    return arguments


def base_environment() -> dict[str, str]:
    """What every job finds in its environment, whatever its specification says."""
    return dict(_BASE_ENVIRONMENT)


def system_links() -> tuple[str, ...]:
    """Names below / that may be links into /usr (or directories) on the host."""
    return _SYSTEM_LINKS
