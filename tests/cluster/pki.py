"""Keys and certificates of one cluster, fresh at each start; they must not be used for anything that outlives it."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from tests.cluster.place import Place

LIFETIME = datetime.timedelta(days=30)
SKEW = datetime.timedelta(minutes=5)
USERS = {
    "admin": ("admin", "system:masters"),
    "kube-controller-manager": ("system:kube-controller-manager", None),
    "kube-scheduler": ("system:kube-scheduler", None),
    "netpol": ("netpol-agent", None),
}
"""File name → user and group, beside the kubelet's own."""


@dataclass(frozen=True)
class Pair:
    """A key and its certificate, both in PEM."""

    key: bytes
    certificate: bytes


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


class Authority:
    """A certificate authority that lives in memory alone: what it has not signed by the end of the start, nobody will."""

    def __init__(self, now: datetime.datetime) -> None:
        self._now = now
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lockgate-test-cluster")])
        signed = self._builder(self._name, self._key).add_extension(x509.BasicConstraints(True, None), critical=True)
        self.certificate = signed.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - SKEW)
            .not_valid_after(self._now + LIFETIME)
        )

    def issue(self, user: str, group: str | None = None, *, addresses: tuple[str, ...] = ()) -> Pair:
        """A client's certificate; with `addresses` (IP or DNS) a server's as well."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.NameAttribute(NameOID.COMMON_NAME, user)]
        if group is not None:
            names.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, group))
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if addresses else [])]
        builder = self._builder(x509.Name(names), key).add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        if addresses:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_name(each) for each in addresses]), critical=False
            )
        signed = builder.sign(self._key, hashes.SHA256())
        return Pair(_pem(key), signed.public_bytes(serialization.Encoding.PEM))


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def kubeconfig(place: Place, authority: bytes, pair: Pair) -> str:
    """A kubeconfig that holds all it needs."""

    def encoded(pem: bytes) -> str:
        return base64.b64encode(pem).decode()

    cluster = {"server": place.api, "certificate-authority-data": encoded(authority)}
    user = {"client-certificate-data": encoded(pair.certificate), "client-key-data": encoded(pair.key)}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lockgate", "cluster": cluster}],
        "users": [{"name": "user", "user": user}],
        "contexts": [{"name": "lockgate", "context": {"cluster": "lockgate", "user": "user"}}],
        "current-context": "lockgate",
    }
    return json.dumps(document, indent=1) + "\n"


def make(place: Place, now: datetime.datetime) -> None:
    """Write every key, certificate and kubeconfig of the cluster, readable by root alone; raises OSError."""
    authority = Authority(now)
    folder = place.home / "pki"
    folder.mkdir(mode=0o700)
    _write(folder / "ca.crt", authority.certificate)
    server = authority.issue(
        "kube-apiserver", addresses=("kubernetes.default.svc", place.node_ip, _first_service(place))
    )
    to_kubelet = authority.issue("kube-apiserver-kubelet-client", "system:masters")
    kubelet = authority.issue(
        f"system:node:{place.node}", "system:nodes", addresses=(place.node, place.node_ip, "127.0.0.1")
    )
    for name, pair in {"apiserver": server, "apiserver-kubelet-client": to_kubelet, "kubelet": kubelet}.items():
        _write(folder / f"{name}.key", pair.key)
        _write(folder / f"{name}.crt", pair.certificate)
    accounts = ec.generate_private_key(ec.SECP256R1())
    _write(folder / "sa.key", _pem(accounts))
    public = accounts.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    _write(folder / "sa.pub", public)
    _write(folder / "kubelet.kubeconfig", kubeconfig(place, authority.certificate, kubelet).encode())
    for name, (user, group) in USERS.items():
        path = place.kubeconfig if name == "admin" else folder / f"{name}.kubeconfig"
        _write(path, kubeconfig(place, authority.certificate, authority.issue(user, group)).encode())


def _first_service(place: Place) -> str:
    return str(ipaddress.ip_network(place.service_range)[1])


def _write(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)
