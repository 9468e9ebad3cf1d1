"""What the gateway's policy does when its source brings something else: take up what is signed, newer and whole; else keep what was good, and say so."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.invariants.gate import Gate
from tests.invariants.keepers import Time, keeper, library_keeper
from tests.invariants.parties import agent
from tests.unit.policy.bundles.bundling import Files, key_pair, released, signatures, signed_files, tar
from tests.unit.policy.test_hostile_policy import module

from lockgate.contract.decision import Decision, Question
from lockgate.gateway.audit.entries import EntryKind
from lockgate.gateway.policykeeping import PolicyKeeper, Trust
from lockgate.gateway.store.port import AuditEntries
from lockgate.policy.acceptance import Acceptance
from lockgate.policy.bundle import LIBRARY, PolicyBundle
from lockgate.policy.bundles.archive import pack
from lockgate.policy.bundles.keys import BundleKey
from lockgate.policy.bundles.layout import bundle_files
from lockgate.policy.bundles.signature import FILE, Verifier, sign_files
from lockgate.policy.needs import NOTHING, Needs
from lockgate.policy.sources.file import FileSource
from lockgate.telemetry.names import Counted
from lockgate.testing.policy_engine import example_input


class Light:
    """An engine that only knows its bundle: compiling is not what is tested here."""

    name = "light"
    needs: Needs = NOTHING

    def __init__(self, bundle: PolicyBundle) -> None:
        self.bundle = bundle

    @property
    def revision(self) -> str:
        return self.bundle.revision

    async def decide(self, question: Question, document: Mapping[str, Any]) -> Decision:
        raise NotImplementedError

    async def close(self) -> None: ...


def other(sequence: int = 8, **release: Any) -> PolicyBundle:
    """The library with other rule texts: another revision."""
    bundle = released(sequence, **release)
    return replace(bundle, rules={**bundle.rules, "role": {**bundle.rules["role"], "fix": f"Ask number {sequence}."}})


@dataclass
class Place:
    """A bundle file, the key that signs it, and the keeper that looks at it."""

    path: Path
    key: BundleKey
    verifier: Verifier
    time: Time
    keeper: PolicyKeeper

    def put(self, content: bytes) -> None:
        draft = self.path.with_name("draft")
        draft.write_bytes(content)
        draft.rename(self.path)

    async def serve(self, bundle: PolicyBundle) -> None:
        """A signed release is put there, and looked at."""
        self.put(pack(signed_files(bundle, self.key)))
        await self.keeper.look()

    def again(self, **acceptance: Any) -> PolicyKeeper:
        """A keeper as after a restart."""
        trust = Trust(Acceptance(signed=True, **acceptance), self.verifier)
        return keeper(FileSource(self.path), trust, self.time, Light)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    key, verifier = key_pair(tmp_path)
    made = Place(tmp_path / "bundle.tar.gz", key, verifier, Time(), None)  # type: ignore[arg-type]
    made.keeper = made.again()
    return made


async def test_a_signed_release_comes_into_force_and_is_told(place: Place) -> None:
    await place.serve(released(7))
    assert place.keeper.ready
    assert place.keeper.told() == {
        "revision": released(7).revision,
        "taken": released(7).revision,
        "key": "release",
        "sequence": 7,
        "reasons": [],
    }


def no_signature(files: Files, _: BundleKey) -> bytes:
    return pack({path: content for path, content in files.items() if path != FILE})


def tampered(files: Files, _: BundleKey) -> bytes:
    return pack(files | {"lockgate/plan.rego": b"package lockgate.plan\n\ndecision := true\n"})


def more(files: Files, _: BundleKey) -> bytes:
    return pack(files | {"more.rego": b"package more\n"})


def fewer(files: Files, _: BundleKey) -> bytes:
    return pack({path: content for path, content in files.items() if path != "rules.json"})


def unknown_key(files: Files, key: BundleKey) -> bytes:
    return pack(files | {FILE: sign_files(files, replace(key, id="mallory"))})


def other_scope(files: Files, key: BundleKey) -> bytes:
    return pack(files | {FILE: sign_files(files, key, "staging")})


def no_algorithm(files: Files, _: BundleKey) -> bytes:
    header = base64.urlsafe_b64encode(b'{"alg":"none","kid":"release"}').rstrip(b"=").decode()
    forged = ".".join([header, signatures(files).split(".")[1], ""])
    return pack(files | {FILE: json.dumps({"signatures": [forged]}).encode()})


def traversal(files: Files, _: BundleKey) -> bytes:
    return tar(*(({"name": path}, content) for path, content in files.items()), ({"name": "../../x.rego"}, b""))


def signed_without_module(files: Files, key: BundleKey) -> bytes:
    files = {path: content for path, content in files.items() if path != "lockgate.wasm"}
    return pack(files | {FILE: sign_files(files, key)})


def signed_with_open_roots(files: Files, key: BundleKey) -> bytes:
    manifest = json.loads(files[".manifest"]) | {"roots": ["other"]}
    files = files | {".manifest": json.dumps(manifest).encode()}
    return pack(files | {FILE: sign_files(files, key)})


def signed_without_sequence(files: Files, key: BundleKey) -> bytes:
    files = bundle_files(replace(other(), release=None))
    return pack(files | {FILE: sign_files(files, key)})


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda *_: b"", "is empty"),
        (lambda *_: b"garbage", "is no gzip archive"),
        (lambda files, _: pack(files)[:-20], "is cut short"),
        (lambda *_: pack({}), "is empty: there is no file in it"),
        (no_signature, f"{FILE}: is missing: the bundle is not signed"),
        (tampered, "lockgate/plan.rego: is not what was signed"),
        (more, "more.rego: is not in the signature"),
        (fewer, "rules.json: is in the signature, and missing from the bundle"),
        (unknown_key, "is by the key 'mallory', which is not pinned here (release)"),
        (other_scope, "is for the scope 'staging', not ''"),
        (no_algorithm, "says algorithm 'none'"),
        (traversal, "holds a file called '../../x.rego'"),
        (signed_without_module, "lockgate.wasm: is missing"),
        (signed_with_open_roots, ".manifest: roots: 'lockgate' is not among them"),
        (signed_without_sequence, ".manifest: is not signed, or says no sequence"),
    ],
)
async def test_what_must_not_be_believed_keeps_the_last_good_one_says_why_and_is_got_over(
    place: Place, make: Callable[[Files, BundleKey], bytes], said: str
) -> None:
    counted: list[Counted] = []
    place.keeper.count = counted.append
    await place.serve(released(7))
    place.put(make(signed_files(other(8), place.key), place.key))
    for _ in range(2):
        await place.keeper.look()
        assert place.keeper.in_force.revision == released(7).revision
        assert str(place.path) in str(place.keeper.error)
        assert said in str(place.keeper.error)
        assert place.keeper.ready
    assert counted == [Counted.POLICY_LOAD_FAILED], "the same content is not judged twice"
    await place.serve(other(8))
    assert (place.keeper.in_force.revision, place.keeper.error) == (other(8).revision, None)


async def test_a_source_that_fails_for_a_while_is_told_and_got_over(place: Place) -> None:
    await place.serve(released(7))
    away = place.path.rename(place.path.with_name("away"))
    await place.keeper.look()
    assert "cannot be read" in str(place.keeper.error)
    assert place.keeper.in_force.revision == released(7).revision
    away.rename(place.path)
    await place.keeper.look()
    assert place.keeper.error is None


async def test_a_module_that_lacks_a_question_is_refused_and_the_question_named(place: Place) -> None:
    """By the real engine: it alone knows what a module answers."""
    engine = keeper(FileSource(place.path), place.keeper.trust, place.time)
    bundle = replace(released(7), wasm=module("(i32.const 4096)", questions=(Question.REQUEST, Question.LIST)))
    place.put(pack(signed_files(bundle, place.key)))
    await engine.look()
    assert "lockgate.wasm: has no entry point lockgate/plan/decision, lockgate/apply/decision" in str(engine.error)
    assert not engine.ready
    await engine.in_force.close()


async def test_without_a_usable_bundle_everything_is_denied_until_there_is_one(place: Place) -> None:
    place.put(b"garbage")
    await place.keeper.look()
    assert not place.keeper.ready
    assert (place.keeper.told()["revision"], place.keeper.told()["reasons"]) == (
        "none",
        ["no_policy", "bundle_refused"],
    )
    decision = await place.keeper.in_force.decide(Question.REQUEST, example_input(Question.REQUEST))
    assert [violation.rule for violation in decision.violations] == ["lockgate.engine.no_policy"]
    await place.serve(released(7))
    assert place.keeper.ready


async def test_an_older_release_is_refused_also_after_a_restart(place: Place, gate: Gate) -> None:
    await place.serve(other(8))
    await place.keeper.record(gate.core)
    for started in (place.keeper, place.again()):
        await started.remember(gate.core)
        place.put(pack(signed_files(released(7), place.key)))
        started.source.forget()
        await started.look()
        assert "metadata.lockgate.sequence: is 7, older than 8, which was in force" in str(started.error)
        assert started.in_force.revision in (other(8).revision, "none")


async def test_a_restart_takes_up_the_same_release_again(place: Place, gate: Gate) -> None:
    await place.serve(other(8))
    await place.keeper.record(gate.core)
    epoch = gate.core.standing.epoch
    again = place.again()
    await again.remember(gate.core)
    await again.look()
    await again.record(gate.core)
    assert (again.error, again.in_force.revision) == (None, other(8).revision)
    assert gate.core.standing.epoch == epoch, "that is no event"


async def test_two_revisions_of_one_sequence_are_not_swapped_for_each_other(place: Place) -> None:
    await place.serve(released(7))
    await place.serve(other(7))
    assert "is 7, as that of another revision" in str(place.keeper.error)
    assert place.keeper.in_force.revision == released(7).revision


async def test_a_rollback_is_made_where_the_settings_allow_it_and_counts_from_there(place: Place, gate: Gate) -> None:
    await place.serve(other(8))
    await place.keeper.record(gate.core)
    place.put(pack(signed_files(released(7), place.key)))
    allowing = place.again(allow_rollback=True)
    await allowing.remember(gate.core)
    await allowing.look()
    await allowing.record(gate.core)
    assert allowing.in_force.revision == released(7).revision
    after = place.again()
    await after.remember(gate.core)
    await after.look()
    assert (after.error, after.in_force.revision) == (None, released(7).revision)


async def test_a_pin_takes_up_its_revision_alone_older_or_not(place: Place, gate: Gate) -> None:
    await place.serve(other(8))
    await place.keeper.record(gate.core)
    pinned = place.again(pin=released(7).revision)
    await pinned.remember(gate.core)
    await pinned.look()
    assert f"is revision {other(8).revision}; policy.pin wants {released(7).revision}" in str(pinned.error)
    place.put(pack(signed_files(released(7), place.key)))
    await pinned.look()
    assert (pinned.error, pinned.in_force.revision) == (None, released(7).revision)


async def test_the_same_policy_released_again_is_young_again_without_another_engine(place: Place, gate: Gate) -> None:
    await place.serve(released(7, max_age=60))
    engine = place.keeper.in_force.held.engine
    place.time.pass_(61)
    assert not place.keeper.ready
    assert place.keeper.told()["reasons"] == ["stale"]
    assert "replaced within 60 seconds" in str(place.keeper.in_force.held.stale)
    await place.serve(released(8, signed_at=int(place.time.wall), max_age=60))
    assert place.keeper.ready
    assert place.keeper.in_force.held.engine is engine
    await place.keeper.record(gate.core)
    entries = [entry.body for entry in await gate.store.read(AuditEntries()) if entry.kind == EntryKind.POLICY_LOADED]
    assert entries[-1] == {
        "revision": released(8).revision,
        "key": "release",
        "sequence": 8,
        "signed_at": int(place.time.wall),
    }


async def test_a_release_that_is_too_old_already_is_in_force_and_denies_until_a_newer_one_comes(place: Place) -> None:
    place.time.pass_(86_401)
    await place.serve(released(7))
    assert (place.keeper.ready, place.keeper.error) == (False, None)
    decision = await place.keeper.in_force.decide(Question.REQUEST, example_input(Question.REQUEST))
    assert [violation.rule for violation in decision.violations] == ["lockgate.engine.stale"]
    await place.serve(other(8, signed_at=int(place.time.wall)))
    assert place.keeper.ready


async def test_a_bound_of_the_deployments_own_needs_a_time_that_was_signed(tmp_path: Path) -> None:
    path = tmp_path / "bundle.tar.gz"
    path.write_bytes(pack(bundle_files(replace(released(), release=None))))
    unsigned = Trust(Acceptance(signed=False), None, max_age=60)
    made = keeper(FileSource(path), unsigned, make=Light)
    await made.look()
    assert "says no signed_at, and policy.max_age is set" in str(made.error)


async def test_in_dev_nobodys_signature_is_needed_and_the_log_says_that_there_is_none(
    tmp_path: Path, gate: Gate
) -> None:
    (tmp_path / "data.yaml").write_bytes(LIBRARY.joinpath("data.default.yaml").read_bytes())
    made = library_keeper(tmp_path)
    await made.begin()
    await made.record(gate.core)
    entries = [entry.body for entry in await gate.store.read(AuditEntries()) if entry.kind == EntryKind.POLICY_LOADED]
    assert entries[-1] == {"revision": made.in_force.revision, "key": None}
    await made.in_force.close()


async def test_failures_make_looks_rarer_up_to_a_bound_and_one_success_usual_again(place: Place) -> None:
    place.keeper.pause = 30
    assert place.keeper.delay() == 30
    delays = []
    for _ in range(8):
        await place.keeper.look()
        delays.append(place.keeper.delay())
    assert delays == [60, 120, 240, 300, 300, 300, 300, 300]
    place.keeper.jitter = lambda: 1.0
    assert place.keeper.delay() == 240
    await place.serve(released(7))
    assert place.keeper.delay() == 24


async def test_what_a_keeper_measures_is_what_is_in_force(place: Place, gate: Gate) -> None:
    metrics = gate.core.observer.metrics
    place.keeper.count = metrics.count
    place.keeper.measure(metrics)
    assert b"lockgate_policy_ready 0.0" in metrics.text()
    await place.serve(released(7))
    place.time.pass_(10)
    place.put(b"garbage")
    await place.keeper.look()
    place.keeper.measure(metrics)
    text = metrics.text().decode()
    info = f'lockgate_policy_info{{key="release",revision="{released(7).revision}",sequence="7"}} 1.0'
    for line in (
        "lockgate_policy_ready 1.0",
        "lockgate_policy_error 1.0",
        "lockgate_policy_age_seconds 10.0",
        "lockgate_policy_load_failures_total 1.0",
        info,
    ):
        assert line in text
    assert text.count("lockgate_policy_info{") == 1


async def test_what_an_agent_is_shown_is_nothing_while_policy_is_too_old_and_all_again_afterwards(
    place: Place, gate: Gate
) -> None:
    """Lists are remembered; neither the full one nor the empty one outlives what it was decided under."""
    real = keeper(FileSource(place.path), place.keeper.trust, place.time)
    place.put(pack(signed_files(released(7, max_age=60), place.key)))
    await real.look()
    gate.core.policy = real.in_force
    shown = [offer.name for offer in await gate.desk.actions(agent())]
    assert shown
    place.time.pass_(61)
    assert await gate.desk.actions(agent()) == ()
    place.time.wall -= 61
    real.in_force.refresh(None)
    assert [offer.name for offer in await gate.desk.actions(agent())] == shown
    await real.in_force.close()
