import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from lockgate.keys.pki import (
    CA_DAYS,
    GATEWAY_NAME,
    LEAF_DAYS,
    CertificateAuthority,
    CertificateRefused,
    RunnerIdentity,
    certificate_der,
    runner_identity,
)
from lockgate.keys.privatefile import KeyFileError, write_private, write_public
from lockgate.keys.tls import TlsFiles, public_server, runner_client, runner_facing_server

NOW = 1_790_000_000_000
IDENTITY = RunnerIdentity("acme", "default", "eu-west", "runner-1")
URI = "spiffe://acme/tenant/default/region/eu-west/runner/runner-1"


def test_a_runners_certificate_says_exactly_who_it_is() -> None:
    issued = CertificateAuthority.create("acme", NOW).runner(IDENTITY, NOW)
    assert IDENTITY.uri == URI
    assert runner_identity(certificate_der(issued.certificate)) == IDENTITY
    assert b"PRIVATE" not in repr(issued).encode()


def test_lives_are_bounded_and_keys_are_p256() -> None:
    authority = CertificateAuthority.create("acme", NOW)
    late = NOW + (CA_DAYS - 1) * 86_400_000
    for issued, days in (
        (authority.issued, CA_DAYS),
        (authority.gateway(NOW), LEAF_DAYS),
        (authority.runner(IDENTITY, late), 1),
    ):
        certificate = x509.load_pem_x509_certificate(issued.certificate)
        assert certificate.not_valid_after_utc - certificate.not_valid_before_utc <= timedelta(days=days, minutes=5)
        key = certificate.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert isinstance(key.curve, ec.SECP256R1)


def test_the_gateways_certificate_names_what_runners_check() -> None:
    issued = CertificateAuthority.create("acme", NOW).gateway(NOW, ("lockgate.example", "192.0.2.7", "localhost"))
    certificate = x509.load_pem_x509_certificate(issued.certificate)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [GATEWAY_NAME, "localhost", "lockgate.example"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1", "192.0.2.7"]
    with pytest.raises(CertificateRefused):
        runner_identity(certificate_der(issued.certificate))


def test_a_ca_kept_in_one_file_is_the_same_ca() -> None:
    authority = CertificateAuthority.create("acme", NOW)
    again = CertificateAuthority.load(authority.issued)
    assert again.issued.certificate == authority.issued.certificate
    certificate = x509.load_pem_x509_certificate(again.runner(IDENTITY, NOW).certificate)
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.issued.certificate))


def certificate(
    names: list[x509.GeneralName] | None, *, ca: bool = False, usage: x509.ObjectIdentifier | None = None
) -> bytes:
    key, start = ec.generate_private_key(ec.SECP256R1()), datetime.fromtimestamp(NOW / 1000, UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "runner-1")])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(start).not_valid_after(start + timedelta(days=1))
    builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([usage or ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
    if names is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def uri(text: str) -> list[x509.GeneralName]:
    return [x509.UniformResourceIdentifier(text)]


def test_the_builder_of_these_tests_makes_an_acceptable_certificate() -> None:
    assert runner_identity(certificate(uri(URI))) == IDENTITY


@pytest.mark.parametrize(
    "der",
    [
        b"",
        b"nonsense",
        certificate(None),
        certificate(uri(URI) + uri(URI.replace("runner-1", "runner-2"))),
        certificate([*uri(URI), x509.DNSName("runner-1")]),
        certificate([x509.DNSName("runner-1")]),
        certificate(uri(URI), ca=True),
        certificate(uri(URI), usage=ExtendedKeyUsageOID.SERVER_AUTH),
        *(
            certificate(uri(text))
            for text in (
                URI + "/",
                URI + "\n",
                URI + "?x=1",
                URI.replace("spiffe", "https"),
                URI.replace("acme", "ACME"),
                URI.replace("acme", ""),
                URI.replace("acme", "a@b"),
                URI.replace("default", "a/../b"),
                URI.replace("/tenant/default", ""),
                URI.replace("eu-west", "a" * 64),
                URI.replace("runner-1", "%72unner"),
            )
        ),
    ],
)
def test_a_certificate_that_is_not_exactly_a_runners_is_refused(der: bytes) -> None:
    with pytest.raises(CertificateRefused):
        runner_identity(der)


@pytest.mark.parametrize("field", ["deployment", "tenant", "region", "runner"])
@pytest.mark.parametrize("bad", ["", "A", "a/b", "a b", "-a", "a-", "ü", "a" * 64, "a\n"])
def test_an_identity_cannot_be_made_of_what_would_not_read_back(field: str, bad: str) -> None:
    names = {"deployment": "a", "tenant": "a", "region": "a", "runner": "a"} | {field: bad}
    with pytest.raises(CertificateRefused, match=field):
        RunnerIdentity(**names)


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    authority = CertificateAuthority.create("acme", NOW)
    issued = authority.runner(IDENTITY, NOW)
    write_public(tmp_path / "cert.pem", issued.certificate)
    write_private(tmp_path / "key.pem", issued.key)
    write_public(tmp_path / "ca.pem", authority.issued.certificate)
    return TlsFiles(tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "ca.pem")


def test_both_contexts_speak_tls_1_3_only_and_demand_a_certificate_of_the_pinned_ca(files: TlsFiles) -> None:
    for context in (runner_facing_server(files), runner_client(files)):
        assert context.minimum_version is ssl.TLSVersion.TLSv1_3
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.cert_store_stats()["x509"] == 1
    assert runner_client(files).check_hostname


def test_production_refuses_a_tls_key_that_others_can_reach(files: TlsFiles) -> None:
    files.key.chmod(0o644)
    for make in (runner_facing_server, runner_client):
        with pytest.raises(KeyFileError, match="chmod 600"):
            make(files)
        make(files, dev=True)
    with pytest.raises(KeyFileError, match="chmod 600"):
        public_server(files.certificate, files.key)
    public_server(files.certificate, files.key, dev=True)


def test_files_that_do_not_fit_are_named(files: TlsFiles, tmp_path: Path) -> None:
    write_private(tmp_path / "other.pem", CertificateAuthority.create("acme", NOW).issued.key)
    for wrong in (
        TlsFiles(files.certificate, tmp_path / "other.pem", files.ca),
        TlsFiles(files.certificate, tmp_path / "missing.pem", files.ca),
        TlsFiles(files.certificate, files.key, tmp_path / "missing.pem"),
        TlsFiles(files.certificate, files.key, files.key),
    ):
        with pytest.raises(KeyFileError, match=r"\.pem"):
            runner_client(wrong)
