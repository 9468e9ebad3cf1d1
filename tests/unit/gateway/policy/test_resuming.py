"""A gateway that is started while its bundle server is away goes on with the last good bundle, which must hold as if it had just come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.invariants.gate import Gate
from tests.invariants.keepers import Time, keeper
from tests.unit.gateway.policy.test_keeping import Light, other
from tests.unit.policy.bundles.bundling import key_pair, released, signed_files

from lockgate.contract.decision import Question
from lockgate.gateway.policykeeping import PolicyKeeper, Trust
from lockgate.policy.acceptance import Acceptance
from lockgate.policy.bundle import PolicyBundle
from lockgate.policy.bundles.archive import pack, unpack
from lockgate.policy.bundles.keys import BundleKey
from lockgate.policy.bundles.signature import Verifier
from lockgate.policy.sources.lastgood import LastGood
from lockgate.policy.sources.port import Fetched, SourceUnavailable
from lockgate.telemetry.metrics import Metrics
from lockgate.testing.policy_engine import example_input

NAME = "https://bundles.example/policy.tar.gz"


@dataclass
class Server:
    """A source that has what it is given, or is away."""

    has: bytes | None = None
    name: str = NAME
    brought: bytes | None = field(default=None, init=False)

    async def look(self) -> Fetched | None:
        if self.has is None:
            raise SourceUnavailable(f"{self.name}: cannot be reached")
        if self.has == self.brought:
            return None
        self.brought = self.has
        return Fetched(self.name, unpack(self.has, self.name))

    def forget(self) -> None:
        self.brought = None


@dataclass
class Site:
    """Gateways of one store and one folder for the copy, one after the other."""

    folder: Path
    key: BundleKey
    verifier: Verifier
    gate: Gate
    time: Time = field(default_factory=Time)
    counted: list[Any] = field(default_factory=list)

    @property
    def copy(self) -> Path:
        return Path(LastGood(self.folder, NAME).name)

    def signed(self, bundle: PolicyBundle) -> bytes:
        return pack(signed_files(bundle, self.key))

    async def started(self, server: Server, *, verifier: Verifier | None = None, **acceptance: Any) -> PolicyKeeper:
        """As the program does it: remember, look, resume, record."""
        trust = Trust(Acceptance(signed=True, **acceptance), verifier or self.verifier)
        made = keeper(server, trust, self.time, Light)
        made.copy, made.count = LastGood(self.folder, server.name), self.counted.append
        await made.remember(self.gate.core)
        await made.look()
        await made.resume()
        await made.record(self.gate.core)
        return made


@pytest.fixture
def site(tmp_path: Path, gate: Gate) -> Site:
    key, verifier = key_pair(tmp_path)
    return Site(tmp_path / "state" / "copy", key, verifier, gate)


def shown(made: PolicyKeeper, name: str) -> float:
    metrics = Metrics()
    made.measure(metrics)
    line = next(line for line in metrics.text().decode().splitlines() if line.startswith(f"{name} "))
    return float(line.split()[1])


async def test_a_restart_without_the_server_goes_on_with_the_last_good_release(site: Site) -> None:
    await site.started(Server(site.signed(released(7))))
    assert (site.copy.stat().st_mode & 0o777, site.folder.stat().st_mode & 0o777) == (0o600, 0o700)
    server = Server()
    made = await site.started(server)
    assert (made.ready, made.in_force.revision, made.told()["sequence"]) == (True, released(7).revision, 7)
    assert (made.told()["reasons"], shown(made, "lockgate_policy_resumed")) == (["source_unavailable"], 1)
    server.has = site.signed(other(8))
    await made.look()
    assert (made.in_force.revision, made.told()["reasons"]) == (other(8).revision, [])
    assert shown(made, "lockgate_policy_resumed") == 0
    assert (await site.started(Server())).in_force.revision == other(8).revision


async def test_a_server_that_comes_back_with_garbage_takes_nothing_away(site: Site) -> None:
    await site.started(Server(site.signed(released(7))))
    made = await site.started(Server(pack({"x.rego": b"package x\n"})))
    assert (made.ready, made.in_force.revision) == (True, released(7).revision)
    assert made.told()["reasons"] == ["bundle_refused"]


async def test_without_a_copy_everything_is_denied_until_the_server_answers(site: Site) -> None:
    made = await site.started(Server())
    assert (made.ready, made.told()["reasons"]) == (False, ["no_policy", "source_unavailable"])


def of_nobody(content: bytes) -> bytes:
    files = unpack(content, "copy")
    return pack({path: files[path] for path in files if path != ".signatures.json"})


def changed(content: bytes) -> bytes:
    return pack(unpack(content, "copy") | {"lockgate/plan.rego": b"package lockgate.plan\n"})


@pytest.mark.parametrize("spoil", [of_nobody, changed, lambda content: content[:-20], lambda _: b""])
async def test_a_copy_that_is_not_what_was_signed_is_not_believed(site: Site, spoil: Callable[[bytes], bytes]) -> None:
    await site.started(Server(site.signed(released(7))))
    site.copy.write_bytes(spoil(site.copy.read_bytes()))
    made = await site.started(Server())
    assert (made.ready, made.in_force.revision) == (False, "none")


async def test_a_copy_by_a_key_that_was_withdrawn_is_not_believed(site: Site) -> None:
    await site.started(Server(site.signed(released(7))))
    assert not (await site.started(Server(), verifier=Verifier({}))).ready


async def test_a_copy_from_another_place_is_not_gone_on_with_and_gives_way_to_the_new_ones(site: Site) -> None:
    await site.started(Server(site.signed(released(7))))
    elsewhere = Server(name="https://bundles.example/staging.tar.gz")
    made = await site.started(elsewhere)
    assert (made.ready, made.told()["reasons"]) == (False, ["no_policy", "source_unavailable"])
    elsewhere.has = site.signed(other(8))
    await made.look()
    assert [path.name for path in site.folder.iterdir()] == [LastGood(site.folder, elsewhere.name).file]
    assert (await site.started(Server(name=elsewhere.name))).in_force.revision == other(8).revision
    assert not (await site.started(Server())).ready


async def test_a_copy_signed_for_another_scope_is_not_believed(site: Site) -> None:
    await site.started(Server(site.signed(released(7))))
    assert not (await site.started(Server(), verifier=Verifier(site.verifier.keys, "production"))).ready


async def test_an_older_copy_is_no_way_back(site: Site) -> None:
    await site.started(Server(site.signed(released(7))))
    older = site.copy.read_bytes()
    await site.started(Server(site.signed(other(8))))
    site.copy.write_bytes(older)
    assert not (await site.started(Server())).ready
    assert not (await site.started(Server(), pin=other(8).revision)).ready
    assert (await site.started(Server(), allow_rollback=True)).ready


async def test_a_copy_that_is_too_old_denies(site: Site) -> None:
    await site.started(Server(site.signed(released(7, max_age=60))))
    site.time.pass_(61)
    made = await site.started(Server())
    assert (made.ready, made.told()["reasons"]) == (False, ["stale", "source_unavailable"])
    decision = await made.in_force.decide(Question.REQUEST, example_input(Question.REQUEST))
    assert [violation.rule for violation in decision.violations] == ["lockgate.engine.stale"]


async def test_a_copy_is_replaced_whole_and_a_link_is_not_followed(site: Site, tmp_path: Path) -> None:
    kept = LastGood(site.folder, NAME)
    kept.write({"a.rego": b"package a\n"})
    (site.folder / ".draft").write_bytes(b"of a gateway that was killed")
    kept.write({"b.rego": b"package b\n"})
    assert [path.name for path in site.folder.iterdir()] == [site.copy.name]
    found = kept.read()
    assert found is not None and found.files == {"b.rego": b"package b\n"}
    elsewhere = tmp_path / "elsewhere"
    site.folder.rename(elsewhere)
    site.folder.symlink_to(elsewhere)
    with pytest.raises(OSError):
        kept.write({"c.rego": b"package c\n"})


async def test_a_copy_that_cannot_be_written_takes_nothing_away_and_is_counted(site: Site) -> None:
    site.folder.parent.mkdir(parents=True)
    site.folder.write_text("a file in its place")
    made = await site.started(Server(site.signed(released(7))))
    assert (made.ready, [str(item) for item in site.counted]) == (True, ["lockgate_policy_copy_failures"])
