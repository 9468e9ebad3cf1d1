"""The images of the test cluster, made by the product's own code and kept in the cache; a changed source is another image."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.place import ClusterError, Place
from tests.cluster.settings import PAUSE_IMAGE

from lockgate.runner import image as making
from lockgate.runner.image.archive import Entry, Image, RunAs, write_image
from lockgate.runner.image.job import NAME, key_of, write_job_image
from lockgate.runner.sandbox.runtime_root import build_job_root, job_root_digest

KEPT = 4
"""Archives, of 140 MB each: those of the work trees that somebody tests at the same time."""

TOOLS = ("ansible",)


@contextmanager
def _store() -> Iterator[Path]:
    """Where archives are kept, outside every work tree; held by one process at a time."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "lockgate"
    folder = Path(os.environ.get("LOCKGATE_CACHE") or default).absolute() / "images"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def pause_archive(program: Path, folder: Path) -> Image:
    """The image of every pod's first container, named by tag: that is how the runtime's configuration names it."""
    name, _, tag = PAUSE_IMAGE.partition(":")
    entries = [Entry("kubernetes-pod", source=program)]
    run = RunAs(user="65535:65535", entrypoint=("/kubernetes-pod", "pause"))
    return write_image(folder / "pause.tar", name, [entries], run, tag)


def bring(place: Place, tools: Mapping[str, Path] | None = None) -> Image:
    """The job's image of this work tree on the cluster's node, with ansible and `tools`, more programs by name; made first if it is not kept."""
    from tests.cluster.lifecycle import holds_image, import_archive

    with _store() as folder:
        image = _kept(folder, tools or {})
        if not holds_image(place, image.pinned):
            import_archive(place, image.archive)
    return image


def _kept(folder: Path, tools: Mapping[str, Path]) -> Image:
    decided = hashlib.sha256(f"{key_of(job_root_digest(tools=TOOLS), tools)} {_system()}".encode()).hexdigest()
    archive = folder / f"job-{decided[:32]}.tar"
    note = archive.with_suffix(".json")
    if note.exists() and archive.exists():
        os.utime(archive)
        return Image(archive, NAME, json.loads(note.read_text())["digest"])
    root = build_job_root(folder, tools=TOOLS)
    image = write_job_image(archive, root, tools=tools)
    note.write_text(json.dumps({"digest": image.digest}) + "\n")
    shutil.rmtree(folder / "roots")
    for old in sorted(folder.glob("job-*.tar"), key=lambda path: path.stat().st_mtime)[:-KEPT]:
        old.unlink()
        old.with_suffix(".json").unlink(missing_ok=True)
    return image


def _system() -> str:
    """What changes when packages of this system do, or the code that makes an image of them."""
    packages = Path("/var/lib/dpkg/status")
    code = "".join(path.read_text() for path in sorted(Path(making.__file__).parent.glob("*.py")))
    return f"{Path('/etc/os-release').read_text()} {packages.stat().st_mtime_ns if packages.exists() else ''} {code}"


def named(reference: str) -> Image:
    """The image that a cluster which is not ours holds; raises ClusterError for a name without a digest."""
    name, at, digest = reference.partition("@")
    if not at or not digest.startswith("sha256:"):
        raise ClusterError("LOCKGATE_JOB_IMAGE must name the job's image on this cluster by digest: NAME@sha256:…")
    return Image(Path("/nonexistent"), name, digest)
