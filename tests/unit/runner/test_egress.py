"""What a stage's proxy is told, what is kept of its notes, and which destinations and ranges a configuration may name."""

from __future__ import annotations

import socket
from dataclasses import replace
from types import SimpleNamespace

import pytest
import structlog
from tests.unit.runner.test_settings import HEAD, TARGETS, read

from lockgate.contract.intent import Stage
from lockgate.contract.redaction import Redactor
from lockgate.runner.egress.notes import TunnelNotes
from lockgate.runner.egress.rules import EgressRules, RuleInvalid, destination, private_network
from lockgate.runner.egress.stage import receipts_of, rules_for
from lockgate.runner.egress.tunnels import MAX_NOTE_BYTES, TunnelNote, tell
from lockgate.wire.frames import frame
from lockgate.wire.settingsfile import SettingsError

SETTINGS = read(HEAD + TARGETS + '    egress_private: ["10.20.0.0/16"]\n    egress_limits: {tunnels: 9}\n')
NOTE = TunnelNote(1, "api.example", 443, "192.0.2.1", 10, 20, "closed")


def accepted(*egress: str) -> SimpleNamespace:
    return SimpleNamespace(grant=SimpleNamespace(egress=egress), target=SETTINGS.targets["web"])


@pytest.mark.parametrize("stage", [stage for stage in Stage if stage is not Stage.DERIVE])
def test_a_stage_gets_the_grants_destinations_under_the_runners_own_rules(stage: Stage) -> None:
    rules = rules_for(SETTINGS, accepted("api.example:443"), stage)  # type: ignore[arg-type]
    limits = replace(EgressRules((), (), ()).limits, tunnels=9)
    assert rules == EgressRules(("api.example:443",), ("10.20.0.0/16",), ("127.0.0.1",), limits)


def test_derive_and_a_grant_without_destinations_have_no_way_out() -> None:
    assert rules_for(SETTINGS, accepted("api.example:443"), Stage.DERIVE) is None  # type: ignore[arg-type]
    assert rules_for(SETTINGS, accepted(), Stage.APPLY) is None  # type: ignore[arg-type]


def test_what_was_asked_for_is_masked_made_visible_and_logged_by_name() -> None:
    """A refused host is text of whoever runs inside: it may be a secret, or meant for the reader's terminal."""
    asked = replace(NOTE, host="hunter2secret.evil\x1b[2Jexample", outcome="not_allowed", address="")
    with structlog.testing.capture_logs() as logs:
        (kept,) = receipts_of("ab" * 16, [asked], Redactor(["hunter2secret"]))
    assert "hunter2secret" not in repr(kept) + repr(logs)
    assert "\x1b" not in kept.host and kept.host.endswith("example")
    assert [entry["event"] for entry in logs] == ["tunnel"]
    assert (logs[0]["host"], logs[0]["outcome"]) == (kept.host, "not_allowed")


async def heard(*frames: bytes, most: int = 4) -> tuple[TunnelNote, ...]:
    ours, theirs = socket.socketpair()
    notes = TunnelNotes(ours, most)
    with theirs:
        for data in frames:
            theirs.sendall(data)
    await notes.finish()
    await notes.release()
    return notes.tunnels


async def test_the_last_note_of_a_tunnel_counts_and_an_open_end_was_cut() -> None:
    ours, theirs = socket.socketpair()
    notes = TunnelNotes(ours, 4)
    with theirs:
        for note in (replace(NOTE, outcome="open"), NOTE, replace(NOTE, number=2, outcome="open")):
            tell(theirs, note)
    await notes.finish()
    await notes.release()
    assert notes.tunnels == (NOTE, replace(NOTE, number=2, outcome="cut"))


@pytest.mark.parametrize(
    "data",
    [frame(b"{}"), frame(b"[1]"), frame(b"\xff"), (MAX_NOTE_BYTES + 1).to_bytes(4, "big") + b"x" * 9000,
     frame(b'{"number":1,"host":7,"port":1,"address":"","sent":0,"received":0,"outcome":""}')],
)  # fmt: skip
async def test_notes_that_cannot_be_read_are_said_to_be_so(data: bytes) -> None:
    assert [note.outcome for note in await heard(data)] == ["unreadable_notes"]


async def test_more_notes_than_tunnels_are_not_kept() -> None:
    ours, theirs = socket.socketpair()
    notes = TunnelNotes(ours, 3)
    with theirs:
        for number in range(10):
            tell(theirs, replace(NOTE, number=number))
    await notes.finish()
    await notes.release()
    assert [note.outcome for note in notes.tunnels] == ["closed"] * 3 + ["unreadable_notes"]


@pytest.mark.parametrize(
    "text",
    ["127.0.0.1:443", "2130706433:443", "api.0x7f:443", "api.example:0", "api.example:65536", "api.example.:443", "API.example:443",
     "*.example:443", "api..example:443", "-a.example:443", "a" * 64 + ".example:443", "a." * 127 + "example:443", "[::1]:443",
     "api.example", ":443", "user@api.example:443", "api.example:443 ", "bücher.example:443", ""],
)  # fmt: skip
def test_a_destination_is_one_name_and_one_port(text: str) -> None:
    with pytest.raises(RuleInvalid):
        destination(text)


def test_a_good_destination_is_taken_apart() -> None:
    assert destination("api-1.example:65535") == ("api-1.example", 65535)
    assert destination("xn--bcher-kva.example:443") == ("xn--bcher-kva.example", 443)


@pytest.mark.parametrize(
    "text", ["0.0.0.0/0", "::/0", "8.8.8.0/24", "10.0.0.1/8", "10.0.0.0/33", "private", "10.0.0.0-10.0.0.9"]
)
def test_a_range_lies_within_private_space(text: str) -> None:
    with pytest.raises(RuleInvalid):
        private_network(text)


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ('egress: ["127.0.0.1:443"]', r"targets\.web\.egress\[0\]"),
        ('egress_private: ["0.0.0.0/0"]', r"targets\.web\.egress_private\[0\]"),
        ("egress_limits: {tunnels: 0}", r"targets\.web\.egress_limits\.tunnels"),
        ("egress_limits: {tunnels: 5000}", r"targets\.web\.egress_limits\.tunnels"),
    ],
)
def test_settings_that_cannot_stand_are_named_by_field(line: str, field: str) -> None:
    text = TARGETS.replace('egress: ["api.example:443"]', line)
    with pytest.raises(SettingsError, match=field):
        read(HEAD + text)
