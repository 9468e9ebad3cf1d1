"""The gates of the invariants serve here too; engines that a test closes are its own."""

from tests.invariants.conftest import gate, library, strict

__all__ = ["gate", "library", "strict"]
