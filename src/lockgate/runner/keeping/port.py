"""The ``ArtifactStore`` port: what the runner asks of whatever keeps bytes that must not leave the region (invariant 12)."""

from __future__ import annotations

from typing import Protocol


class ArtifactStore(Protocol):
    """Keeps bytes encrypted under names and their own digest. Every call blocks: run it in a thread. Each may be repeated.

    `names` bind an artifact to what it is for (tenant, target, operation, …): under other names nobody can read it, not even with the key.
    """

    def put(self, names: tuple[str, ...], data: bytes) -> str:
        """Keep `data` durably; its digest, `sha256:` hex. Raises OSError, ValueError (too large)."""
        ...

    def get(self, names: tuple[str, ...], digest: str) -> bytes:
        """The bytes of exactly that digest. Raises ArtifactMissing, ArtifactDamaged (lockgate.artifacts.errors), OSError."""
        ...

    def destroy(self, names: tuple[str, ...], digest: str) -> None:
        """Make it unreadable for good, whatever its state; idempotent. Raises OSError."""
        ...

    def sweep(self, older_than: float) -> int:
        """Destroy a bounded number of artifacts put before `older_than` (Unix seconds); how many. Raises OSError."""
        ...
