"""A gate and a real region for the tests of the runner's own life."""

from tests.invariants.conftest import gate, job_root, library, region, works

__all__ = ["gate", "job_root", "library", "region", "works"]
