"""The fixed sequence of a job's channel as a small state machine that only moves forward; it must not do any I/O (TRUST §3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from lockgate.wire.frames import LARGE_MESSAGE_BYTES, SMALL_MESSAGE_BYTES

Side = Literal["job", "runner"]

STEPS: Final[tuple[tuple[Side, str, int], ...]] = (
    ("job", "hello", SMALL_MESSAGE_BYTES),
    ("runner", "inputs", LARGE_MESSAGE_BYTES),
    ("job", "ready", SMALL_MESSAGE_BYTES),
    ("runner", "go", SMALL_MESSAGE_BYTES),
    ("job", "result", LARGE_MESSAGE_BYTES),
)
APPLY_STAGE: Final = "apply"


@dataclass(frozen=True)
class Step:
    """Who may speak now, with which message type, and at most how many bytes."""

    side: Side
    type: str
    limit: int


class ChannelSequence:
    """Where a channel stands. ``go`` exists in the apply stage only; each message is said once."""

    def __init__(self, stage: str) -> None:
        self._steps = tuple(Step(*step) for step in STEPS if step[1] != "go" or stage == APPLY_STAGE)
        self._at = 0

    def expected(self) -> Step | None:
        """The one message that may come next, or None when everything was said."""
        return self._steps[self._at] if self._at < len(self._steps) else None

    def limit_for(self, side: Side) -> int | None:
        """How many bytes ``side`` may send now, or None when it must be silent."""
        step = self.expected()
        return step.limit if step is not None and step.side == side else None

    def advance(self, side: Side, message_type: object) -> bool:
        """Take the next step if it is exactly this one; False (and no move) otherwise."""
        step = self.expected()
        if step is None or step.side != side or step.type != message_type:
            return False
        self._at += 1
        return True
