"""The read-only system a sandbox sees: the host's programs, and an /etc of our own; it must never show the host's /etc."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from lockgate.runner.sandbox.profile import INSIDE_UID, WORK, HostLayout, system_links

_PUBLIC_ETC: Final = (
    "/etc/ld.so.cache",
    "/etc/alternatives",
    "/etc/ssl/certs",
    "/etc/pki/tls/certs",
    "/etc/pki/ca-trust/extracted",
)
"""Public parts of the host's /etc that programs need to run at all: library paths, program links, CA certificates."""

ETC: Final = {
    "passwd": f"root:x:0:0:root:/:/usr/sbin/nologin\nsandbox:x:{INSIDE_UID}:{INSIDE_UID}:sandbox:{WORK}:/bin/sh\n",
    "group": f"root:x:0:\nsandbox:x:{INSIDE_UID}:\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "hosts": "127.0.0.1 localhost sandbox\n::1 localhost sandbox\n",
    "hostname": "sandbox\n",
    "host.conf": "multi on\n",
}


def host_layout(base: Path) -> HostLayout:
    """Describe this host, making our /etc below ``base`` (content-addressed, safe to run twice at once); raises OSError."""
    links: list[tuple[str, str]] = []
    directories: list[str] = []
    for name in system_links():
        path = Path("/", name)
        if path.is_symlink():
            links.append((name, str(path.readlink())))
        elif path.is_dir():
            directories.append(name)
    public = tuple(path for path in _PUBLIC_ETC if Path(path).exists())
    return HostLayout(tuple(links), tuple(directories), str(_etc(base, public)), public)


def _etc(base: Path, public: tuple[str, ...]) -> Path:
    described = repr((sorted(ETC.items()), public))
    final = base / f"etc-{hashlib.sha256(described.encode()).hexdigest()[:16]}"
    if final.is_dir():
        return final
    draft = Path(tempfile.mkdtemp(prefix=".etc-", dir=base))
    for name, content in ETC.items():
        _write(draft / name, content)
    (draft / "localtime").symlink_to("/usr/share/zoneinfo/UTC")
    for path in public:  # mount points must exist: the directory is mounted read-only
        point = draft / Path(path).relative_to("/etc")
        if Path(path).is_dir():
            point.mkdir(parents=True, mode=0o755)
        else:
            _write(point, "")
    for directory, _, _ in os.walk(draft):
        Path(directory).chmod(0o755)  # every sandbox uid reads it
    try:
        draft.rename(final)
    except OSError:
        shutil.rmtree(draft)
        if not final.is_dir():
            raise
    return final


def _write(path: Path, content: str) -> None:
    path.write_text(content, encoding="utf-8")
    path.chmod(0o644)
