"""The short way to Ed25519 is the public one: what the library's own class takes, a verifying key takes, and nothing else."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from lockgate.contract.trust import VerifyingKey

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = PRIVATE.public_key().public_bytes_raw()

# RFC 8032 §7.1, test 2.
RFC_PUBLIC = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
RFC_SIGNATURE = bytes.fromhex(
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)


def by_the_public_class(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def test_the_vector_of_the_rfc_verifies() -> None:
    assert VerifyingKey("k", RFC_PUBLIC).verify(b"\x72", RFC_SIGNATURE)
    assert not VerifyingKey("k", RFC_PUBLIC).verify(b"\x73", RFC_SIGNATURE)


@given(
    st.binary(max_size=40),
    st.integers(0, 63),
    st.integers(1, 255),
    st.sampled_from(["", "signature", "key", "short", "message"]),
)
def test_it_says_what_the_library_says(message: bytes, place: int, flip: int, spoil: str) -> None:
    public, signature = PUBLIC, PRIVATE.sign(message)
    if spoil == "signature":
        signature = signature[:place] + bytes([signature[place] ^ flip]) + signature[place + 1 :]
    elif spoil == "key":
        public = public[: place % 32] + bytes([public[place % 32] ^ flip]) + public[place % 32 + 1 :]
    elif spoil == "short":
        signature = signature[:place]
    elif spoil == "message":
        message += b"x"
    found = VerifyingKey("k", public).verify(message, signature)
    assert found is by_the_public_class(public, message, signature)
    assert found is (spoil == "")
