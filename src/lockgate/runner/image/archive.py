"""OCI archives, byte for byte the same for the same files: no time, owner or compression of this machine is in them.

Layers are not compressed: compressors differ between versions, and a digest must not.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
_CHUNK: Final = 1 << 20


@dataclass(frozen=True)
class Entry:
    """One place in a layer: a file's content from ``source`` or ``text``, a ``link``'s text, or, with none of them, a directory."""

    place: str
    mode: int = 0o755
    source: Path | None = None
    text: str | None = None
    link: str | None = None


@dataclass(frozen=True)
class RunAs:
    """What a container of the image starts with where its pod says nothing else."""

    user: str = ""
    entrypoint: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: str = "/"


@dataclass(frozen=True)
class Image:
    """An image in an archive: ``pinned`` names it by what it contains."""

    archive: Path
    name: str
    digest: str

    @property
    def pinned(self) -> str:
        """The reference for a pod: a repository and a digest, no tag."""
        return f"{self.name}@{self.digest}"


def write_image(out: Path, name: str, layers: Iterable[Iterable[Entry]], run: RunAs, tag: str = "") -> Image:
    """Write ``out`` with these layers, lowest first; ``name`` is a repository, ``tag`` beside it only for who cannot name digests. Raises OSError."""
    with tempfile.TemporaryDirectory(prefix=".image-", dir=out.parent) as scratch:
        blobs = [_layer(Path(scratch) / f"{number}", entries) for number, entries in enumerate(layers)]
        config = _json(
            {
                "architecture": _ARCHITECTURES.get(os.uname().machine, os.uname().machine),
                "os": "linux",
                "config": {
                    "User": run.user,
                    "Entrypoint": list(run.entrypoint) or None,
                    "Env": [f"{key}={value}" for key, value in sorted(run.environment.items())],
                    "WorkingDir": run.directory,
                },
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for _, digest, _ in blobs]},
            }
        )
        manifest = _json(
            {
                "schemaVersion": 2,
                "mediaType": _MANIFEST,
                "config": _described(_CONFIG, config),
                "layers": [
                    {"mediaType": _LAYER, "digest": f"sha256:{digest}", "size": size} for _, digest, size in blobs
                ],
            }
        )
        digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
        # Importers take the name from here; one without a tag is then known by its digest alone.
        reference = f"{name}:{tag}" if tag else f"{name}@{digest}"
        annotations = {"io.containerd.image.name": reference, "org.opencontainers.image.ref.name": reference}
        index = _json(
            {"schemaVersion": 2, "manifests": [{**_described(_MANIFEST, manifest), "annotations": annotations}]}
        )
        draft = Path(scratch) / "archive"
        with tarfile.open(draft, "w", format=tarfile.PAX_FORMAT) as archive:
            _add(archive, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
            _add(archive, "index.json", index)
            for blob in (config, manifest):
                _add(archive, f"blobs/sha256/{hashlib.sha256(blob).hexdigest()}", blob)
            for path, layer, _ in blobs:
                with path.open("rb") as content:
                    archive.addfile(_member(f"blobs/sha256/{layer}", path.stat().st_size), content)
        draft.rename(out)
    return Image(out, name, digest)


def _layer(path: Path, entries: Iterable[Entry]) -> tuple[Path, str, int]:
    """The layer's tar, its SHA-256 in hexadecimal, and its size in bytes."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as layer:
        for entry in sorted(entries, key=lambda each: each.place):
            member = _member(entry.place, 0, entry.mode)
            if entry.source is not None:
                member.size = entry.source.stat().st_size
                with entry.source.open("rb") as content:
                    layer.addfile(member, content)
            elif entry.text is not None:
                _add(layer, entry.place, entry.text.encode(), entry.mode)
            elif entry.link is not None:
                member.type, member.linkname = tarfile.SYMTYPE, entry.link
                layer.addfile(member)
            else:
                member.type = tarfile.DIRTYPE
                layer.addfile(member)
    digest = hashlib.sha256()
    with path.open("rb") as content:
        while chunk := content.read(_CHUNK):
            digest.update(chunk)
    return path, digest.hexdigest(), path.stat().st_size


def _member(place: str, size: int, mode: int = 0o644) -> tarfile.TarInfo:
    """An entry without owner or time: a fresh TarInfo has neither."""
    member = tarfile.TarInfo(place)
    member.size, member.mode = size, mode
    return member


def _add(archive: tarfile.TarFile, place: str, content: bytes, mode: int = 0o644) -> None:
    archive.addfile(_member(place, len(content), mode), io.BytesIO(content))


def _described(kind: str, blob: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "digest": f"sha256:{hashlib.sha256(blob).hexdigest()}", "size": len(blob)}


def _json(document: Any) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
