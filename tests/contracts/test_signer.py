"""What every Signer must do, run on every provider."""

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from lockgate.contract.dsse import EnvelopeError, VerifyingKey, seal, unseal
from lockgate.contract.keyset import keyid_of
from lockgate.keys.signer import Signer, generate_key

PROVIDERS: dict[str, Callable[[Path], Signer]] = {"file": lambda place: generate_key(place / "key.pem")}


@pytest.fixture(params=PROVIDERS)
def make(request: pytest.FixtureRequest) -> Callable[[Path], Signer]:
    return PROVIDERS[request.param]


def test_it_is_named_by_its_public_key(make: Callable[[Path], Signer], tmp_path: Path) -> None:
    signer = make(tmp_path)
    assert len(signer.public) == 32
    assert signer.keyid == keyid_of(signer.public)


@pytest.mark.parametrize("message", [b"", b"x", b"\0" * 1_000_000])
def test_its_signature_is_plain_ed25519_over_exactly_the_message(
    make: Callable[[Path], Signer], tmp_path: Path, message: bytes
) -> None:
    signer = make(tmp_path)
    signature = signer.sign(message)
    assert len(signature) == 64
    public = Ed25519PublicKey.from_public_bytes(signer.public)
    public.verify(signature, message)
    with pytest.raises(InvalidSignature):
        public.verify(signature, message + b"x")


def test_an_envelope_it_seals_opens_under_its_key_and_no_other(make: Callable[[Path], Signer], tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    signer, other = make(tmp_path), make(tmp_path / "other")
    envelope = seal("type", b"payload", signer)
    assert unseal(envelope, "type", {signer.keyid: VerifyingKey(signer.keyid, signer.public)}) == (
        b"payload",
        signer.keyid,
    )
    with pytest.raises(EnvelopeError):
        unseal(envelope, "type", {signer.keyid: VerifyingKey(signer.keyid, other.public)})


def test_its_private_key_is_in_no_representation(make: Callable[[Path], Signer], tmp_path: Path) -> None:
    signer = make(tmp_path)
    assert signer.keyid in repr(signer)
    assert len(repr(signer)) < 100
