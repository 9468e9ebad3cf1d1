"""DSSE envelopes (secure-systems-lab/dsse v1.0.2) with Ed25519: sign and verify the bytes received, never a re-serialisation.

Opening stands in `contract.trust`, which the job shares; this module adds sealing.
"""

from __future__ import annotations

import base64
import json
from typing import Protocol

from lockgate.contract.trust import MAX_ENVELOPE, EnvelopeError, VerifyingKey, pae, unseal

__all__ = ["MAX_ENVELOPE", "EnvelopeError", "EnvelopeSigner", "VerifyingKey", "pae", "seal", "unseal"]


class EnvelopeSigner(Protocol):
    """Holds one private key; `keyid` names it in the keyset."""

    keyid: str

    def sign(self, message: bytes) -> bytes:
        """The raw Ed25519 signature (64 bytes) of the message."""
        ...


def seal(payload_type: str, payload: bytes, signer: EnvelopeSigner) -> bytes:
    """A one-signature envelope (JSON bytes) over `payload`."""
    signature = signer.sign(pae(payload_type, payload))
    return json.dumps(
        {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": payload_type,
            "signatures": [{"keyid": signer.keyid, "sig": base64.b64encode(signature).decode()}],
        },
        separators=(",", ":"),
    ).encode()
