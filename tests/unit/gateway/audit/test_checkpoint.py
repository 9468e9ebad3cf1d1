"""Checkpoints: signed by the log key and no other; the C2SP note is one a stranger can verify."""

import base64
import hashlib

import pytest
from tests.unit.gateway.audit.conftest import Deployment

from lockgate.contract.dsse import EnvelopeError, VerifyingKey
from lockgate.contract.evidence import Checkpoint
from lockgate.gateway.audit.checkpoint import issue, open_checkpoint, root_bytes, root_text, signed_note
from lockgate.gateway.audit.entries import Head

HEAD = Head(7, hashlib.sha256(b"root").digest())


def test_a_checkpoint_says_what_was_signed(deployment: Deployment) -> None:
    envelope = issue(HEAD, deployment.log, deployment="test", now=5)
    assert open_checkpoint(envelope, deployment.keyset) == Checkpoint("test", 7, root_text(HEAD.root), 5)


def test_a_checkpoint_of_another_key_or_deployment_is_refused(deployment: Deployment) -> None:
    with pytest.raises(EnvelopeError, match="not trusted"):
        open_checkpoint(issue(HEAD, deployment.runner, deployment="test", now=5), deployment.keyset)
    with pytest.raises(EnvelopeError, match="deployment"):
        open_checkpoint(issue(HEAD, deployment.log, deployment="other", now=5), deployment.keyset)
    with pytest.raises(EnvelopeError, match="size"):
        open_checkpoint(issue(Head(-1, HEAD.root), deployment.log, deployment="test", now=5), deployment.keyset)


@pytest.mark.parametrize("text", ["", "sha256:", "sha256:00", "00" * 32, "sha256:" + "g" * 64])
def test_a_root_is_32_bytes_in_hex(text: str) -> None:
    with pytest.raises(EnvelopeError, match="root"):
        root_bytes(text)


def test_the_note_has_the_c2sp_form_and_verifies(deployment: Deployment) -> None:
    note = signed_note(HEAD, "example.org/log", deployment.log, deployment.log.public)
    text, _, signature = note.partition("\n\n")
    assert text.split("\n") == ["example.org/log", "7", base64.b64encode(HEAD.root).decode()]
    dash, name, encoded = signature.rstrip("\n").split(" ")
    raw = base64.b64decode(encoded)
    assert (dash, name) == ("—", "example.org/log")
    assert raw[:4] == hashlib.sha256(b"example.org/log\n\x01" + deployment.log.public).digest()[:4]
    assert VerifyingKey("k", deployment.log.public).verify((text + "\n").encode(), raw[4:])
    with pytest.raises(ValueError, match="origin"):
        signed_note(HEAD, "a b", deployment.log, deployment.log.public)
