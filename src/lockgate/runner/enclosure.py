"""What the sandboxes of one attempt share: its name, and its end. Whatever happened before, the end is looked at; it must not fail an attempt."""

from __future__ import annotations

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from lockgate.contract.evidence import EnclosureReceipt
from lockgate.runner.parts import Parts
from lockgate.runner.sandbox.port import SandboxUnavailable
from lockgate.runner.statements import Evidence

_NAME_BYTES = 16


def enclosure_of(region_secret: bytes, attempt: str) -> str:
    """32 hexadecimal characters that nobody without the region's secret can foretell, and any of its runners can find again after a crash.

    An attempt has one runner and one start, so its name is used once.
    """
    info = f"lockgate-enclosure-v1\0{attempt}".encode()
    return HKDF(algorithm=SHA256(), length=_NAME_BYTES, salt=None, info=info).derive(region_secret).hex()


async def release(parts: Parts, attempt: str, evidence: Evidence) -> None:
    """Let the provider remove what the attempt's sandboxes shared, and note what its look found; also for an attempt of a dead process."""
    enclosure = enclosure_of(parts.region_secret, attempt)
    gone, checks = False, {"looked": False}
    try:
        proof = await parts.sandbox.release(enclosure)
        if proof is None:
            checks = {}
        else:
            gone, checks = proof.torn_down, dict(proof.checks)
    except SandboxUnavailable:
        checks = {"provider_available": False}
    finally:
        # Also when the look itself was cut short, as for a sandbox: a receipt that left it out would prove too much.
        if checks:
            evidence.enclosures.append(EnclosureReceipt(enclosure, gone, checks))
