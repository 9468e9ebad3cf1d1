"""A key and certificate for one stage, pinned by its digest; nobody else ever trusts it, and nothing of it is kept."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

# It lives as long as its stage, which no date could say better; a pod's clock may be wrong, and is not asked (RFC 5280, 4.1.2.5).
_FROM: Final = datetime(2000, 1, 1, tzinfo=UTC)
_TO: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
_NAME: Final = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lockgate job channel")])


@dataclass(frozen=True, slots=True)
class StageCertificate:
    """``der`` is what the pod pins; ``pem`` holds the certificate and its unencrypted key."""

    der: bytes
    pem: bytes = field(repr=False)

    @property
    def pin(self) -> str:
        """The SHA-256 of ``der``, as hex."""
        return hashlib.sha256(self.der).hexdigest()


def stage_certificate() -> StageCertificate:
    """A new one: P-256, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_NAME)
        .issuer_name(_NAME)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_FROM)
        .not_valid_after(_TO)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return StageCertificate(certificate.public_bytes(Encoding.DER), certificate.public_bytes(Encoding.PEM) + private)
