"""DSSE envelopes, signed documents and keysets: exactly one type, one role, one signature, over the bytes received."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.grants import Key

from lockgate.contract.dsse import EnvelopeError, VerifyingKey, pae, seal, unseal
from lockgate.contract.evidence import CHECKPOINT_TYPE, Checkpoint
from lockgate.contract.keyset import PAYLOAD_TYPE, KeyRole, Keyset, open_keyset
from lockgate.contract.signed import envelope_sha256, read_signed, read_signed_by, write_signed

ROOT, LOG, RUNNER = Key("root"), Key("log"), Key("runner")
KEYS = {LOG.keyid: VerifyingKey(LOG.keyid, LOG.public)}
KEYSET = Keyset(3, "test", True, 10, 1000, (LOG.entry(KeyRole.LOG), RUNNER.entry(KeyRole.RUNNER)))
CHECKPOINT = Checkpoint("test", 5, "sha256:" + "0" * 64, 7)


def edited(envelope: bytes, edit: Callable[[dict[str, Any]], object]) -> bytes:
    document = json.loads(envelope)
    edit(document)
    return json.dumps(document).encode()


def test_the_encoding_is_the_specification_s_example() -> None:
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_what_was_sealed_is_opened_with_the_signer_s_name() -> None:
    payload = bytes(range(256))
    assert unseal(seal("t", payload, LOG), "t", KEYS) == (payload, LOG.keyid)


EDITS: list[tuple[str, Callable[[dict[str, Any]], object], str]] = [
    ("payload", lambda d: d.update(payload=base64.b64encode(b"other").decode()), "does not verify"),
    ("payload form", lambda d: d.update(payload="*"), "payload is not base64"),
    ("payload type", lambda d: d.update(payload=7), "payload must be base64"),
    ("type", lambda d: d.update(payloadType="u"), "payloadType must be t"),
    ("signature", lambda d: d["signatures"][0].update(sig=base64.b64encode(b"\0" * 64).decode()), "does not verify"),
    ("short", lambda d: d["signatures"][0].update(sig="AA=="), "does not verify"),
    ("no sig", lambda d: d["signatures"][0].pop("sig"), "sig must be base64"),
    ("none", lambda d: d.update(signatures=[]), "exactly one signature"),
    ("two", lambda d: d["signatures"].append(d["signatures"][0]), "exactly one signature"),
    ("keyid", lambda d: d["signatures"][0].update(keyid="x"), "not trusted"),
    ("no keyid", lambda d: d["signatures"][0].pop("keyid"), "not trusted"),
    ("odd keyid", lambda d: d["signatures"][0].update(keyid=["x"]), "not trusted"),
    ("extra", lambda d: d.update(more=1), "exactly payload"),
    ("less", lambda d: d.pop("payloadType"), "exactly payload"),
]


@pytest.mark.parametrize(("edit", "message"), [item[1:] for item in EDITS], ids=[item[0] for item in EDITS])
def test_an_envelope_that_was_edited_is_refused(edit: Callable[[dict[str, Any]], object], message: str) -> None:
    with pytest.raises(EnvelopeError, match=message):
        unseal(edited(seal("t", b"payload", LOG), edit), "t", KEYS)


@pytest.mark.parametrize("envelope", [b"", b"[]", b"null", b'{"payload":1,"payload":2}', b"x" * (2 << 20)])
def test_what_is_no_envelope_is_refused(envelope: bytes) -> None:
    with pytest.raises(EnvelopeError):
        unseal(envelope, "t", KEYS)


def test_with_no_key_nothing_verifies() -> None:
    with pytest.raises(EnvelopeError, match="not trusted"):
        unseal(seal("t", b"", LOG), "t", {})
    assert not VerifyingKey("k", b"short").verify(b"", b"")


def test_a_signed_document_is_read_under_its_role_only() -> None:
    envelope = write_signed(CHECKPOINT, CHECKPOINT_TYPE, LOG)
    assert read_signed_by(Checkpoint, envelope, CHECKPOINT_TYPE, KEYSET, KeyRole.LOG) == (CHECKPOINT, LOG.keyid)
    for role in set(KeyRole) - {KeyRole.LOG}:
        with pytest.raises(EnvelopeError, match="not trusted"):
            read_signed(Checkpoint, envelope, CHECKPOINT_TYPE, KEYSET, role)
    assert envelope_sha256(b"{}").startswith("sha256:44136fa355b3678a")


def test_a_document_of_another_deployment_or_shape_is_refused() -> None:
    documents: list[Any] = [
        replace(CHECKPOINT, deployment="other"),
        {"deployment": "test"},
        [],
        {**vars_of(CHECKPOINT), "x": 1},
    ]
    for document in documents:
        with pytest.raises(EnvelopeError):
            read_signed(Checkpoint, write_signed(document, CHECKPOINT_TYPE, LOG), CHECKPOINT_TYPE, KEYSET, KeyRole.LOG)


def vars_of(item: Checkpoint) -> dict[str, Any]:
    return {name: getattr(item, name) for name in item.__slots__}


def test_a_keyset_opens_under_its_root_before_it_expires() -> None:
    envelope = write_signed(KEYSET, PAYLOAD_TYPE, ROOT)
    assert open_keyset(envelope, ROOT.public, now=999, least_version=3) == KEYSET
    assert KEYSET.trusted(KeyRole.LOG).keys() == {LOG.keyid}
    assert KEYSET.entry(RUNNER.keyid).role is KeyRole.RUNNER
    with pytest.raises(EnvelopeError, match="does not name"):
        KEYSET.entry("x")
    with pytest.raises(EnvelopeError, match="expired"):
        open_keyset(envelope, ROOT.public, now=1000)
    with pytest.raises(EnvelopeError, match="older than 4"):
        open_keyset(envelope, ROOT.public, now=1, least_version=4)
    with pytest.raises(EnvelopeError, match="not trusted"):
        open_keyset(envelope, LOG.public, now=1)
    with pytest.raises(EnvelopeError, match="malformed"):
        open_keyset(write_signed({"version": 1}, PAYLOAD_TYPE, ROOT), ROOT.public, now=1)
