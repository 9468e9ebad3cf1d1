"""The artifact store contract on every provider."""

from __future__ import annotations

import os
from pathlib import Path

from lockgate.artifacts.directory import SealedDirectory
from lockgate.testing.artifact_store import ArtifactStoreContract


class TestSealedDirectory(ArtifactStoreContract):
    def make(self, place: Path, region_secret: bytes = b"r" * 32) -> SealedDirectory:
        return SealedDirectory(place, region_secret, os.urandom)
