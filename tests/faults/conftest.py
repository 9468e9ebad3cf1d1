"""One ledger for the whole run of the fault tests, printed as a table at its end."""

from __future__ import annotations

import pytest
from tests.faults.checker import Ledger

LEDGER = Ledger()


@pytest.fixture(scope="session")
def ledger() -> Ledger:
    """Every scenario adds what it counted."""
    return LEDGER


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The one table."""
    if LEDGER.operations:
        columns = ("kills", "operations", "lost", "doubled", "unproven")
        terminalreporter.section("faults")
        terminalreporter.line("  ".join(f"{name:>10}" for name in columns))
        terminalreporter.line("  ".join(f"{getattr(LEDGER, name):>10}" for name in columns))
