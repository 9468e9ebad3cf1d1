"""The runbook driver: declared commands with typed parameters; it must never hand a value to a shell or take it for an option."""

from lockgate.job.drivers.runbook.driver import RunbookDriver

__all__ = ["RunbookDriver"]
