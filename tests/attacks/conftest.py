"""The attackers meet the same gateways and runners as the invariants do."""

from tests.invariants.conftest import gate, job_root, library, region, strict

__all__ = ["gate", "job_root", "library", "region", "strict"]
