"""What every artifact store says when it has not, or has other bytes than it should; it must not say what the bytes were."""

from __future__ import annotations


class ArtifactMissing(LookupError):
    """Nothing of these names is kept here: it was destroyed, has expired, or lies with another runner."""


class ArtifactDamaged(Exception):
    """What is kept under these names cannot be read, or is not what its digest says; a retry does not help."""
