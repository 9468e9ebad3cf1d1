"""Whether a bundle may be taken up after the one before: pure comparison of what was signed. It verifies no signature."""

from __future__ import annotations

from dataclasses import dataclass

from lockgate.policy.bundle import PolicyBundle
from lockgate.policy.port import PolicyLoadError


@dataclass(frozen=True, slots=True)
class Mark:
    """The newest released revision that was taken up, as the store remembers it."""

    sequence: int
    revision: str

    @classmethod
    def read(cls, recorded: str | None) -> Mark | None:
        """From `subject`; None for a revision that nobody released."""
        revision, _, sequence = (recorded or "").partition(" ")
        return cls(int(sequence), revision) if sequence else None


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What one deployment takes up. `pin`: this revision alone, whatever its sequence; `signed`: only what a pinned key signed."""

    signed: bool
    allow_rollback: bool = False
    pin: str | None = None

    def check(self, bundle: PolicyBundle, mark: Mark | None) -> None:
        """Raises PolicyLoadError unless `bundle` may follow `mark`."""
        if self.signed and (bundle.key is None or bundle.release is None):
            fix = "sign it with `lockgate policy bundle sign`"
            raise PolicyLoadError(bundle.source, f"is not signed, or says no sequence; {fix}", field=".manifest")
        if self.pin is not None:
            if bundle.revision != self.pin:
                raise PolicyLoadError(bundle.source, f"is revision {bundle.revision}; policy.pin wants {self.pin}")
            return
        if mark is None or bundle.release is None or self.allow_rollback:
            return
        sequence = bundle.release.sequence
        if sequence < mark.sequence:
            problem = f"is {sequence}, older than {mark.sequence}, which was in force; a rollback needs policy.pin or policy.allow_rollback"
            raise PolicyLoadError(bundle.source, problem, field=".manifest: metadata.lockgate.sequence")
        if sequence == mark.sequence and bundle.revision != mark.revision:
            problem = (
                f"is {sequence}, as that of another revision, {mark.revision}; give each release a sequence of its own"
            )
            raise PolicyLoadError(bundle.source, problem, field=".manifest: metadata.lockgate.sequence")


def subject(bundle: PolicyBundle) -> str:
    """How the store remembers what is in force: revision, and the sequence of a signed release."""
    return f"{bundle.revision} {bundle.release.sequence}" if bundle.release and bundle.key else bundle.revision
