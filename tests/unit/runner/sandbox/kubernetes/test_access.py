"""How the API server is reached: what a kubeconfig may say, and what is refused by name."""

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from lockgate.keys.pki import CertificateAuthority, RunnerIdentity
from lockgate.runner.sandbox.kubernetes.access import Token, open_access
from lockgate.runner.sandbox.port import SandboxUnavailable


def text(content: bytes) -> str:
    return base64.b64encode(content).decode()


@pytest.fixture
def write(tmp_path: Path, authority: CertificateAuthority):
    issued = authority.runner(RunnerIdentity("acme", "default", "eu", "runner-1"), 1_790_000_000_000)
    cluster = {"server": "https://10.0.0.1:6443", "certificate-authority-data": text(authority.issued.certificate)}
    user = {"client-certificate-data": text(issued.certificate), "client-key-data": text(issued.key)}

    def made(user: dict[str, Any] = user, **changes: Any) -> Path:
        document = {
            "current-context": "one",
            "contexts": [{"name": "one", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {k: v for k, v in (cluster | changes).items() if v is not None}}],
            "users": [{"name": "u", "user": user}],
        }
        path = tmp_path / "kubeconfig"
        path.write_text(yaml.safe_dump(document))
        return path

    return made


def test_a_client_certificate_says_who_we_are(write):
    access = open_access(write())
    assert (access.server, access.address, access.token) == ("https://10.0.0.1:6443", "10.0.0.1:6443", None)


def test_a_token_lies_in_a_file_beside_the_kubeconfig_and_in_no_text(write, tmp_path: Path):
    (tmp_path / "token").write_text("s3cret\n")
    access = open_access(write({"tokenFile": "token"}))
    assert access.token is not None and access.token.value() == "s3cret"
    assert "s3cret" not in repr(access)


@pytest.mark.parametrize(
    ("user", "changes", "said"),
    [
        ({"exec": {"command": "aws"}}, {}, "exec"),
        ({"username": "admin", "password": "x"}, {}, "username"),
        ({"token": "inline"}, {}, "tokenFile"),
        ({}, {"server": "http://10.0.0.1"}, "https"),
        ({}, {"insecure-skip-tls-verify": True}, "insecure-skip-tls-verify"),
        ({}, {"certificate-authority-data": None}, "certificate-authority"),
        ({}, {"certificate-authority-data": "%%%"}, "base64"),
        ({}, {"certificate-authority-data": text(b"no certificate")}, "PEM"),
    ],
)
def test_what_a_kubeconfig_may_not_say_is_refused_by_name(write, user, changes, said):
    with pytest.raises(SandboxUnavailable, match=said):
        open_access(write(user, **changes))


def test_without_kubeconfig_and_cluster_the_fix_names_both():
    with pytest.raises(SandboxUnavailable) as refused:
        open_access(None, {})
    assert "kubeconfig" in refused.value.fix and "in the cluster" in refused.value.fix


def test_a_renewed_token_is_read_after_a_while_and_at_once_when_asked(tmp_path: Path):
    path, now = tmp_path / "token", [0.0]
    path.write_text("one")
    token = Token(path, lambda: now[0])
    assert token.value() == "one"
    path.write_text("two")
    assert (token.value(), token.value(anew=True)) == ("one", "two")
    path.write_text("three")
    now[0] = 1e6
    assert token.value() == "three"
