import os
import stat
from pathlib import Path
from typing import Any

import pytest

from lockgate.contract.keyset import KeyRole, Keyset
from lockgate.keys.keysets import DAY_MS, KeysetRefused, key_entry, load_keyset, seal_keyset
from lockgate.keys.privatefile import MAX_PRIVATE_BYTES, KeyFileError, read_private, write_private, write_public
from lockgate.keys.signer import FileSigner, generate_key, read_private_key, read_public_key, write_public_key

NOW = 1_790_000_000_000


def test_a_generated_key_is_its_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        generate_key(tmp_path / "key.pem")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["key.pem"]


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    first = generate_key(tmp_path / "key.pem")
    with pytest.raises(KeyFileError, match="never overwritten"):
        generate_key(tmp_path / "key.pem")
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(KeyFileError, match="never overwritten"):
        generate_key(tmp_path / "dangling")
    assert FileSigner(tmp_path / "key.pem").keyid == first.keyid
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601])
def test_production_refuses_a_key_that_others_can_reach_and_dev_does_not(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key.pem"
    generate_key(path)
    path.chmod(mode)
    with pytest.raises(KeyFileError, match="chmod 600"):
        FileSigner(path)
    FileSigner(path, dev=True)


@pytest.mark.parametrize("dev", [True, False])
def test_what_is_no_key_file_is_refused_with_its_name(tmp_path: Path, dev: bool) -> None:
    generate_key(tmp_path / "real.pem")
    (tmp_path / "link").symlink_to("real.pem")
    (tmp_path / "directory").mkdir(mode=0o700)
    os.mkfifo(tmp_path / "pipe", 0o600)
    write_private(tmp_path / "garbage", b"not a key")
    write_private(tmp_path / "large", b"x" * (MAX_PRIVATE_BYTES + 1))
    for name in ("link", "directory", "pipe", "garbage", "large", "missing"):
        with pytest.raises(KeyFileError, match=name):
            FileSigner(tmp_path / name, dev=dev)


def test_a_key_of_another_kind_or_encrypted_is_refused(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    locked = ed25519.Ed25519PrivateKey.generate()
    write_private(tmp_path / "other", other)
    write_private(
        tmp_path / "locked", locked.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    )
    with pytest.raises(KeyFileError, match="not Ed25519"):
        FileSigner(tmp_path / "other")
    with pytest.raises(KeyFileError, match="unencrypted"):
        read_private_key(tmp_path / "locked", dev=False)


def test_content_at_the_bound_is_read_whole(tmp_path: Path) -> None:
    write_private(tmp_path / "full", b"x" * MAX_PRIVATE_BYTES)
    assert read_private(tmp_path / "full", dev=False) == b"x" * MAX_PRIVATE_BYTES


def test_a_public_key_file_holds_the_base64_of_32_bytes(tmp_path: Path) -> None:
    signer = generate_key(tmp_path / "key.pem")
    write_public_key(tmp_path / "key.pub", signer.public)
    assert read_public_key(tmp_path / "key.pub") == signer.public
    assert stat.S_IMODE((tmp_path / "key.pub").stat().st_mode) == 0o644
    for name, content in {"short": b"AAAA", "text": b"hello!", "empty": b"", "long": b"A" * 5000}.items():
        write_public(tmp_path / name, content)
        with pytest.raises(KeyFileError, match="32 bytes"):
            read_public_key(tmp_path / name)


@pytest.fixture
def pinned(tmp_path: Path) -> Path:
    write_public_key(tmp_path / "root.pub", generate_key(tmp_path / "root.pem").public)
    return tmp_path / "root.pub"


def written(place: Path, *, root: str = "root.pem", **changes) -> Path:
    grant = generate_key(place / "grant.pem")
    fields: dict[str, Any] = {
        "version": 1,
        "deployment": "acme",
        "dev": False,
        "issued_at": NOW,
        "not_after": NOW + DAY_MS,
    } | changes
    keyset = Keyset(**fields, keys=(key_entry(KeyRole.GRANT, grant.public),))
    (place / "keyset.json").write_bytes(seal_keyset(keyset, FileSigner(place / root)))
    return place / "keyset.json"


def test_a_keyset_opens_under_the_pinned_root(pinned: Path, tmp_path: Path) -> None:
    keyset = load_keyset(written(tmp_path), pinned, now=NOW, dev=False)
    assert list(keyset.trusted(KeyRole.GRANT)) == [FileSigner(tmp_path / "grant.pem").keyid]
    assert keyset.trusted(KeyRole.LOG) == {}


def test_production_refuses_a_dev_keyset(pinned: Path, tmp_path: Path) -> None:
    path = written(tmp_path, dev=True)
    with pytest.raises(KeysetRefused, match="stamped dev"):
        load_keyset(path, pinned, now=NOW, dev=False)
    assert load_keyset(path, pinned, now=NOW, dev=True).dev


def test_an_expired_rolled_back_foreign_or_altered_keyset_is_refused(pinned: Path, tmp_path: Path) -> None:
    path = written(tmp_path)
    with pytest.raises(KeysetRefused, match="expired"):
        load_keyset(path, pinned, now=NOW + DAY_MS, dev=False)
    with pytest.raises(KeysetRefused, match="older"):
        load_keyset(path, pinned, now=NOW, dev=False, least_version=2)
    (tmp_path / "foreign").mkdir()
    generate_key(tmp_path / "foreign" / "root.pem")
    with pytest.raises(KeysetRefused, match="not trusted"):
        load_keyset(written(tmp_path / "foreign"), pinned, now=NOW, dev=False)
    path.write_bytes(path.read_bytes().replace(b'"sig":"', b'"sig":"AA'))
    with pytest.raises(KeysetRefused):
        load_keyset(path, pinned, now=NOW, dev=False)
    path.write_bytes(b" " * (2 << 20))
    with pytest.raises(KeysetRefused, match="larger"):
        load_keyset(path, pinned, now=NOW, dev=False)
    path.unlink()
    with pytest.raises(KeysetRefused, match="cannot be read"):
        load_keyset(path, pinned, now=NOW, dev=False)
