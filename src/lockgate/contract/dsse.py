"""DSSE envelopes (secure-systems-lab/dsse v1.0.2) with Ed25519: sign and verify the bytes received, never a re-serialisation."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from lockgate.contract import strictjson

MAX_ENVELOPE = 1 << 20


class EnvelopeError(ValueError):
    """An envelope was refused: wrong shape, wrong payload type, unknown key, or a signature that does not verify."""


class EnvelopeSigner(Protocol):
    """Holds one private key; `keyid` names it in the keyset."""

    keyid: str

    def sign(self, message: bytes) -> bytes:
        """The raw Ed25519 signature (64 bytes) of the message."""
        ...


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """One public key with the only role it may be used in."""

    keyid: str
    public: bytes

    def verify(self, message: bytes, signature: bytes) -> bool:
        """True when `signature` is this key's over `message`."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


def pae(payload_type: str, payload: bytes) -> bytes:
    """DSSE pre-authentication encoding: what is really signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


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


def unseal(envelope: bytes, payload_type: str, keys: dict[str, VerifyingKey]) -> tuple[bytes, str]:
    """The payload bytes and the id of the key that signed them. Exactly one signature, of exactly this type, by one of `keys`.

    Raises EnvelopeError. With no keys nothing verifies.
    """
    try:
        document = strictjson.loads(envelope, max_bytes=MAX_ENVELOPE, max_depth=4)
    except strictjson.StrictJSONError as error:
        raise EnvelopeError(f"envelope is unreadable: {error}") from None
    if not isinstance(document, dict) or set(document) != {"payload", "payloadType", "signatures"}:
        raise EnvelopeError("envelope must have exactly payload, payloadType and signatures")
    if document["payloadType"] != payload_type:
        raise EnvelopeError(f"payloadType must be {payload_type}, not {str(document['payloadType'])[:100]!r}")
    signatures = document["signatures"]
    if not isinstance(signatures, list) or len(signatures) != 1 or not isinstance(signatures[0], dict):
        raise EnvelopeError("envelope must carry exactly one signature")
    keyid = signatures[0].get("keyid")
    key = keys.get(keyid) if isinstance(keyid, str) else None
    if key is None:
        raise EnvelopeError(f"signed by a key that is not trusted for this: {str(keyid)[:80]!r}")
    payload = _b64(document["payload"], "payload")
    if not key.verify(pae(payload_type, payload), _b64(signatures[0].get("sig"), "sig")):
        raise EnvelopeError(f"the signature by {key.keyid} does not verify")
    return payload, key.keyid


def _b64(text: object, field: str) -> bytes:
    if not isinstance(text, str):
        raise EnvelopeError(f"{field} must be base64 text")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise EnvelopeError(f"{field} is not base64") from None
