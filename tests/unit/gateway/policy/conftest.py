"""The gates of the invariants serve here too."""

from tests.invariants.conftest import gate, library

__all__ = ["gate", "library"]
