"""The mTLS certificates between runners and gateway: a small CA, and the identity in a runner's certificate; it must not guess at a name."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

GATEWAY_NAME = "gateway.lockgate.internal"
"""The name every runner checks in the gateway's certificate, whatever address it connects to."""

CA_DAYS = 365
LEAF_DAYS = 90
_CLOCK_SKEW = timedelta(minutes=5)
_NAME = r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?"
_URI = re.compile(rf"spiffe://({_NAME})/tenant/({_NAME})/region/({_NAME})/runner/({_NAME})")


class CertificateRefused(ValueError):
    """A certificate does not say, in exactly the one accepted form, whose it is."""


@dataclass(frozen=True, slots=True)
class RunnerIdentity:
    """Who a runner's certificate says it is. Each part is lower-case letters, digits, `.`, `_`, `-`; 1 to 63 characters."""

    deployment: str
    tenant: str
    region: str
    runner: str

    def __post_init__(self) -> None:
        for field in self.__slots__:
            if not is_name(getattr(self, field)):
                raise CertificateRefused(
                    f"{field}: must be 1 to 63 of a-z, 0-9, '.', '_', '-', beginning and ending with a letter or digit"
                )

    @property
    def uri(self) -> str:
        """The SPIFFE-style URI that stands in the certificate's subject alternative names."""
        return f"spiffe://{self.deployment}/tenant/{self.tenant}/region/{self.region}/runner/{self.runner}"


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its private key, both PEM; the key is unencrypted PKCS 8 and kept out of representations."""

    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        return f"Issued({len(self.certificate)} bytes of certificate)"


def is_name(text: str) -> bool:
    """Whether a text can be a deployment, tenant, region or runner."""
    return re.fullmatch(_NAME, text) is not None


class CertificateAuthority:
    """A CA of one deployment's mTLS. `now` is Unix ms; leaves live 90 days, and never longer than the CA."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self._certificate = certificate
        self._key = key

    @classmethod
    def create(cls, deployment: str, now: int) -> CertificateAuthority:
        """A new CA; it lives a year and may sign leaves only."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{deployment[:40]} runner CA")])
        start = _moment(now)
        builder = _builder(name, key.public_key(), start, start + timedelta(days=CA_DAYS)).issuer_name(name)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_usage(ca=True), critical=True)
        return cls(builder.sign(key, hashes.SHA256()), key)

    @classmethod
    def load(cls, issued: Issued) -> CertificateAuthority:
        """The CA of PEM files. Raises ValueError."""
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        key = load_pem_private_key(issued.key, password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError("the CA key is not a P-256 key")
        return cls(x509.load_pem_x509_certificate(issued.certificate), key)

    @property
    def issued(self) -> Issued:
        """The CA's own certificate and key."""
        return Issued(self._certificate.public_bytes(Encoding.PEM), _key_pem(self._key))

    def gateway(self, now: int, hosts: tuple[str, ...] = ()) -> Issued:
        """A server certificate for `gateway.lockgate.internal`, localhost, 127.0.0.1, ::1 and `hosts` (names or addresses)."""
        names: list[x509.GeneralName] = [x509.DNSName(GATEWAY_NAME), x509.DNSName("localhost")]
        names += [x509.IPAddress(ipaddress.ip_address(address)) for address in ("127.0.0.1", "::1")]
        names += [name for name in map(_general_name, hosts) if name not in names]
        return self._leaf("gateway", names, ExtendedKeyUsageOID.SERVER_AUTH, now)

    def runner(self, identity: RunnerIdentity, now: int) -> Issued:
        """A client certificate whose one subject alternative name is the runner's URI."""
        return self._leaf(
            identity.runner, [x509.UniformResourceIdentifier(identity.uri)], ExtendedKeyUsageOID.CLIENT_AUTH, now
        )

    def _leaf(self, common: str, names: list[x509.GeneralName], usage: x509.ObjectIdentifier, now: int) -> Issued:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common[:63])])
        start = _moment(now)
        end = min(start + timedelta(days=LEAF_DAYS), self._certificate.not_valid_after_utc)
        builder = _builder(subject, key.public_key(), start, end).issuer_name(self._certificate.subject)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(ca=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(authority, critical=False)
        return Issued(builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM), _key_pem(key))


def runner_identity(certificate: bytes) -> RunnerIdentity:
    """Who a verified client certificate (DER) is. Raises CertificateRefused.

    Strict: one subject alternative name, a URI of exactly our form, no CA, usable as a client; the subject is never looked at.
    """
    try:
        parsed = x509.load_der_x509_certificate(certificate)
        extensions = parsed.extensions
        names = list(extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
        usages = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension) as error:
        raise CertificateRefused(f"the client certificate is not a runner's: {type(error).__name__}") from None
    if constraints.ca or ExtendedKeyUsageOID.CLIENT_AUTH not in usages:
        raise CertificateRefused("the client certificate is not a runner's: it is not made for TLS clients")
    if len(names) != 1 or not isinstance(names[0], x509.UniformResourceIdentifier):
        raise CertificateRefused("the client certificate must have exactly one subject alternative name, a URI")
    match = _URI.fullmatch(names[0].value)
    if match is None:
        raise CertificateRefused("the URI must be spiffe://DEPLOYMENT/tenant/TENANT/region/REGION/runner/RUNNER")
    return RunnerIdentity(*match.groups())


def certificate_der(pem: bytes) -> bytes:
    """The DER form of a PEM certificate. Raises ValueError."""
    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _moment(now: int) -> datetime:
    return datetime.fromtimestamp(now // 1000, UTC)


def _builder(
    subject: x509.Name, key: ec.EllipticCurvePublicKey, start: datetime, end: datetime
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).public_key(key).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(start - _CLOCK_SKEW).not_valid_after(end)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
