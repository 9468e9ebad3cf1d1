"""A job started for real over a real socketpair, with a keyset, grant and permit signed by throw-away keys."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from tests.grants import DIGEST, GRANT, Key

import lockgate
from lockgate.contract.grant import GRANT_TYPE, PERMIT_TYPE, Permit
from lockgate.contract.intent import Phase, Stage
from lockgate.contract.keyset import PAYLOAD_TYPE, KeyRole, Keyset
from lockgate.contract.signed import envelope_sha256, write_signed
from lockgate.contract.snapshot import snapshot_digest
from lockgate.job.source import walk
from lockgate.wire.frames import read_frame, write_frame

CHILD = """
import sys
from pathlib import Path
from lockgate.job.main import main
from lockgate.job.places import Places
base = Path(sys.argv[1])
places = Places()
names = {"keyset": "keyset.json", "root_key": "root.pub"}
for place in vars(places):
    setattr(places, place, str(base / names.get(place, place)))
raise SystemExit(main(places))
"""


def sha256(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


PERMIT = Permit(1, "test", "pe_1", DIGEST, "op_1", "at_1", 7, Phase.APPLY, DIGEST, DIGEST, "broker", 1000, 61_000)


@dataclass
class Desk:
    """A runner's side: writes the trust files, signs, starts the job of the tree under test (as these tests found it) and talks to it."""

    base: Path
    root: Key = field(default_factory=Key)
    grant_key: Key = field(default_factory=Key)
    log_key: Key = field(default_factory=Key)
    children: list[subprocess.Popen[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("source", "scratch"):
            (self.base / name).mkdir()
        self.publish()

    def publish(self, **changes: Any) -> None:
        keys = ((self.grant_key, KeyRole.GRANT), (self.log_key, KeyRole.LOG))
        entries = tuple(key.entry(role) for key, role in keys)
        keyset = replace(Keyset(1, "test", True, 0, 1 << 52, entries), **changes)
        (self.base / "keyset.json").write_bytes(write_signed(keyset, PAYLOAD_TYPE, self.root))
        (self.base / "root.pub").write_text(base64.b64encode(self.root.public).decode() + "\n")

    def inputs(self, entry: str = "set-replicas", variables: dict[str, Any] | None = None, **changes: Any) -> str:
        document = {
            "version": 1,
            "driver": "runbook",
            "entry": entry,
            "variables": variables if variables is not None else {},
            "settings": {},
            "snapshot_sha256": snapshot_digest(walk(str(self.base / "source"))),
            "tool_name": "runbook",
            "tool_version": "1",
            "tool_sha256": DIGEST,
            "job_sha256": DIGEST,
            "providers": {},
            "state": None,
        }
        return json.dumps({**document, **changes})

    def grant(self, inputs: str | None, signer: Key | None = None, **changes: Any) -> str:
        named = sha256(inputs) if inputs is not None else None
        plan = GRANT.plan if named else None
        grant = replace(GRANT, **{"inputs_sha256": named, "plan": plan, **changes})
        return write_signed(grant, GRANT_TYPE, signer or self.grant_key).decode()

    def permit(self, grant: str, inputs: str, signer: Key | None = None, **changes: Any) -> str:
        bound = {"grant_sha256": envelope_sha256(grant.encode()), "inputs_sha256": sha256(inputs), **changes}
        return write_signed(replace(PERMIT, **bound), PERMIT_TYPE, signer or self.grant_key).decode()

    def start(self) -> Dialogue:
        ours, theirs = socket.socketpair()
        ours.settimeout(300)
        env = {
            "LOCKGATE_CHANNEL_FD": str(theirs.fileno()),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path(lockgate.__file__).parents[1]),
        }
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(self.base)],
            env=env,
            pass_fds=[theirs.fileno()],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        theirs.close()
        self.children.append(child)
        return Dialogue(ours, child)


@dataclass
class Dialogue:
    """One job's channel, and its end."""

    channel: socket.socket
    child: subprocess.Popen[str]

    def receive(self, kind: str) -> dict[str, Any]:
        message = read_frame(self.channel)
        assert message.pop("type") == kind
        return message

    def send(self, kind: str, **body: Any) -> None:
        write_frame(self.channel, {"type": kind, **body})

    def send_inputs(self, stage: Stage, grant: str, inputs: str, permit: str | None = None, **changes: Any) -> None:
        body = {"stage": stage.value, "grant": grant, "permit": permit, "inputs": inputs}
        self.send("inputs", **{**body, "output_bytes": 65536, "wall_seconds": 300, "plan_sha256": None, **changes})

    def refused(self) -> str:
        """The one line a refusing job leaves; it must have sent nothing more."""
        assert self.channel.recv(1) == b""
        _, stderr = self.child.communicate(timeout=300)
        assert self.child.returncode == 70, stderr
        assert stderr.startswith("lockgate job refused: ")
        assert len(stderr.splitlines()) == 1
        return stderr.removeprefix("lockgate job refused: ").strip()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    for child in made.children:
        child.kill()
        child.communicate()
