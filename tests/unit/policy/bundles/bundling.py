"""Bundles, keys and archives for the tests of this folder."""

import io
import json
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from lockgate.policy.bundle import PolicyBundle, Release, load_library
from lockgate.policy.bundles.keys import BundleKey, signing_key, verifying_key
from lockgate.policy.bundles.layout import bundle_files
from lockgate.policy.bundles.signature import FILE, Verifier, sign_files

Files = dict[str, bytes]
SIGNED_AT = 1_795_000_000
KEYS: dict[str, Callable[[], Any]] = {
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "ES384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "weak": lambda: rsa.generate_private_key(65537, 1024),
}


def released(sequence: int = 7, *, signed_at: int = SIGNED_AT, max_age: int | None = 86_400) -> PolicyBundle:
    """The library as somebody released it."""
    return replace(load_library(), release=Release(sequence, signed_at, max_age))


def key_files(folder: Path, kind: str = "ES256", name: str = "release") -> tuple[Path, Path]:
    """(private, public) PEM files of a new key."""
    key = KEYS[kind]()
    private, public = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    private.chmod(0o600)
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


def key_pair(folder: Path, kind: str = "ES256", name: str = "release") -> tuple[BundleKey, Verifier]:
    """A signing key, and a verifier that pins its public half under `name`."""
    private, public = key_files(folder, kind, name)
    return signing_key(name, private), Verifier({name: verifying_key(name, public)})


def signed_files(bundle: PolicyBundle, key: BundleKey, scope: str = "") -> Files:
    """The files of a signed bundle."""
    files = bundle_files(bundle)
    return files | {FILE: sign_files(files, key, scope)}


def tar(*members: tuple[Mapping[str, Any], bytes], mode: Any = "w:gz") -> bytes:
    """An archive of members as given, whatever they are: TarInfo fields and content."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for fields, content in members:
            info = tarfile.TarInfo(fields["name"])
            info.size = len(content)
            for field, value in fields.items():
                setattr(info, field, value)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def signatures(files: Mapping[str, bytes]) -> str:
    """The one JWT of signed files."""
    token: str = json.loads(files[FILE])["signatures"][0]
    return token
