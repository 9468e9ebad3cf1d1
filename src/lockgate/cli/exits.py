"""What a command's exit code says; every command ends by one of these and by nothing else."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every command; scripts may rely on them."""

    OK = 0
    FAILED = 1
    USAGE = 2
    REFUSED = 3
    NOT_FOUND = 4
    UNAVAILABLE = 5
    CONFLICT = 6
    WAITING = 7
    INTERRUPTED = 130


MEANING = {
    Exit.OK: "Done, and the outcome is the one asked for.",
    Exit.FAILED: "Done, and the outcome is bad: the operation failed, was denied on the way or expired; a check found faults.",
    Exit.USAGE: "The command line or a file is wrong; nothing was done.",
    Exit.REFUSED: "Identity or policy does not let you; nothing was done.",
    Exit.NOT_FOUND: "There is no such thing, or none that you may see.",
    Exit.UNAVAILABLE: "Something that is needed is missing, busy or not running; the same command may work later.",
    Exit.CONFLICT: "It contradicts what is recorded: a plan that is no longer current, a state that does not allow it.",
    Exit.WAITING: "Not at rest yet: it waits for an approval, a window, a lock or a runner.",
    Exit.INTERRUPTED: "Stopped by Ctrl-C.",
}
