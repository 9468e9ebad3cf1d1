"""A small deployment with real keys, and a store whose log a runner has witnessed."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.grants import Key

from lockgate.contract.canonical import sha256
from lockgate.contract.dsse import seal
from lockgate.contract.evidence import RECEIPT_TYPE, Receipt, Witness
from lockgate.contract.keyset import PAYLOAD_TYPE, KeyRole, Keyset
from lockgate.contract.signed import write_signed
from lockgate.gateway.audit.checkpoint import issue, root_text
from lockgate.gateway.audit.entries import EntryKind
from lockgate.gateway.store.port import Append, EnvelopeRecord, GetEpoch, Transition, TreeHead
from lockgate.gateway.store.sqlite import SqliteStore
from lockgate.gateway.store.sqlite.rows import encode
from lockgate.testing.records import DIGEST, NOW, admit, entry, operation


@dataclass
class Deployment:
    """Root, log and runner keys, and the keyset that names them (expired long ago, as old evidence is)."""

    root: Key
    log: Key
    runner: Key

    @property
    def keyset(self) -> Keyset:
        keys = (self.log.entry(KeyRole.LOG), self.runner.entry(KeyRole.RUNNER))
        return Keyset(1, "test", True, 1, 2, keys)

    def keyset_envelope(self, signer: Key | None = None) -> bytes:
        return seal(PAYLOAD_TYPE, encode(self.keyset), signer or self.root)

    def receipt(self, witness: Witness | None, signer: Key | None = None) -> bytes:
        made = Receipt(
            1, "test", True, "default", "op-0", "a", 1, DIGEST, "local", "r", "b", True, (), (), "x", witness
        )
        return write_signed(made, RECEIPT_TYPE, signer or self.runner)


@pytest.fixture
def deployment() -> Deployment:
    return Deployment(Key("root"), Key("log"), Key("runner"))


@dataclass
class Log:
    """A closed store of 42 entries; a runner's receipt in it witnesses the first 31. `checkpoint` was kept outside at 42."""

    path: Path
    checkpoint: bytes


@pytest.fixture
async def log(tmp_path: Path, deployment: Deployment) -> Log:
    path = tmp_path / "s" / "store.db"
    store = SqliteStore(path)
    await store.migrate()
    loaded = entry(None, EntryKind.KEYSET_LOADED, envelope=deployment.keyset_envelope().decode())
    await store.commit(Append((loaded,), NOW))
    epoch = await store.read(GetEpoch())
    for number in range(15):
        await store.commit(admit(operation(f"op-{number}"), epoch=epoch))
    head = await store.read(TreeHead())
    assert head.size == 31
    receipt = deployment.receipt(Witness(head.size, root_text(head.root)))
    kept = EnvelopeRecord(sha256(receipt), "receipt", "op-0", None, receipt)
    await store.commit(Transition(NOW, (entry("op-0", EntryKind.RECEIPT_RECEIVED),), envelopes=(kept,)))
    for number in range(15, 20):
        await store.commit(admit(operation(f"op-{number}"), epoch=epoch))
    checkpoint = issue(await store.read(TreeHead()), deployment.log, deployment="test", now=NOW)
    await store.close()
    return Log(path, checkpoint)
