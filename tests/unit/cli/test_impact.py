"""`lockgate policy impact` on a copy of a real gateway's store: what it prints, draws, refuses and ends with; and that it writes nothing."""

from __future__ import annotations

import asyncio
import hashlib
import xml.etree.ElementTree as Tree
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.invariants.conftest import MakeEngine
from tests.invariants.gate import Gate
from tests.invariants.parties import agent
from tests.unit.cli.conftest import Ran

from lockgate.cli.deployment import Deployment, make_deployment
from lockgate.cli.exits import Exit
from lockgate.cli.home import now_ms
from lockgate.policy.bundle import LIBRARY
from lockgate.policy.bundles.archive import pack
from lockgate.policy.bundles.layout import bundle_files

Run = Callable[..., Ran]
LIVE = LIBRARY.joinpath("data.default.yaml").read_text("utf-8")
STRICT = LIVE.replace("kind: agent, roles: [operator]}", "kind: agent, roles: [approver]}")


@pytest.fixture
def store(tmp_path: Path, library: MakeEngine) -> Path:
    """One allowed and one denied request of now, decided under the live policy."""
    path = tmp_path / "kept" / "store.db"

    async def fill() -> None:
        gate = Gate(path, library())
        gate.clock.now = now_ms()
        await gate.open()
        await gate.ask()
        await gate.ask(agent("eve", roles=()))
        await gate.close()

    asyncio.run(fill())
    return path


@pytest.fixture
def strict(tmp_path: Path) -> Path:
    """Data under which agents may ask for nothing."""
    path = tmp_path / "strict.yaml"
    path.write_text(STRICT)
    return path


def state(folder: Path) -> dict[str, str]:
    return {item.name: hashlib.sha256(item.read_bytes()).hexdigest() for item in folder.iterdir()}


def test_the_store_is_left_as_it_was_and_nothing_is_made_beside_it(run: Run, store: Path, strict: Path) -> None:
    copy = store.parent.parent / "alone" / "store.db"
    copy.parent.mkdir(0o700)
    copy.write_bytes(store.read_bytes())
    before = state(copy.parent)
    found = run("policy", "impact", "--store", str(copy), "--bundle", str(strict), "--json").document
    assert (found["decisions"], found["changes"]["would_deny"], found["changes"]["same"]) == (2, 1, 1)
    assert state(copy.parent) == before


def test_the_store_of_a_gateway_that_is_at_work_is_read_beside_it(run: Run, store: Path, library: MakeEngine) -> None:
    live = store.parent / "live.yaml"
    live.write_text(LIVE)

    async def at_work() -> Ran:
        gate = Gate(store, library())
        gate.clock.now = now_ms()
        await gate.open()
        await gate.ask(replicas=7)
        ran = await asyncio.to_thread(run, "policy", "impact", "--store", str(store), "--bundle", str(live), "--json")
        assert (await gate.ask(replicas=8)).state.value == "queued"
        await gate.close()
        return ran

    found = asyncio.run(at_work()).document
    assert found["decisions"] == found["changes"]["same"] == 3


def test_people_read_before_and_after_the_operation_and_what_makes_it_so(run: Run, store: Path, strict: Path) -> None:
    text = run("policy", "impact", "--store", str(store), "--bundle", str(strict)).out
    assert "1 of 2 decisions would be otherwise, in 1 of 2 operations" in text
    (allowed,) = [line.split() for line in text.splitlines() if line.split()[:1] == ["allow"]]
    assert allowed[1] == "1" and allowed[-1] == "0"
    named = next(line for line in text.splitlines() if line.strip().startswith("op_"))
    for word in ("request", "would be denied", "role", "set_replicas", "web-dev", "bot"):
        assert word in named
    assert "█" in text


def test_a_bundle_is_tried_packed_and_unpacked(run: Run, store: Path, tmp_path: Path, library: MakeEngine) -> None:
    files = bundle_files(library().bundle)
    packed, unpacked = tmp_path / "new.tar.gz", tmp_path / "new"
    packed.write_bytes(pack(files))
    for name, content in files.items():
        (unpacked / name).parent.mkdir(parents=True, exist_ok=True)
        (unpacked / name).write_bytes(content)
    for place in (packed, unpacked):
        found = run("policy", "impact", "--store", str(store), "--bundle", str(place), "--fail-on", "any", "--json")
        assert found.exit == Exit.OK and found.document["revision"] == library().bundle.revision
        assert found.document["changes"]["same"] == 2


@pytest.mark.parametrize(
    ("data", "fail_on", "exit"),
    [
        (STRICT, None, Exit.OK),
        (STRICT, "denied", Exit.FAILED),
        (STRICT, "any", Exit.FAILED),
        (LIVE, "any", Exit.OK),
        (LIVE.replace("standard: {count: 1,", "standard: {count: 2,"), "denied", Exit.OK),
    ],
)
def test_the_exit_code_is_what_a_pipeline_asks_for(
    run: Run, store: Path, tmp_path: Path, data: str, fail_on: str | None, exit: Exit
) -> None:
    (tmp_path / "data.yaml").write_text(data)
    options = ["--fail-on", fail_on] if fail_on else []
    assert run("policy", "impact", "--store", str(store), "--bundle", str(tmp_path), *options, "--json").exit == exit


def test_where_nothing_could_be_judged_a_pipeline_does_not_pass(run: Run, store: Path, tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text(LIVE + "\nhistory: {window_seconds: 3600}\n")
    ran = run("policy", "impact", "--store", str(store), "--bundle", str(tmp_path), "--fail-on", "any", "--json")
    assert ran.exit == Exit.FAILED and ran.document["changes"]["unknown"] == 2
    assert "no history" in ran.document["unknown"][0]["why"]


def test_the_picture_stands_alone(run: Run, store: Path, strict: Path, tmp_path: Path) -> None:
    drawn = tmp_path / "impact.svg"
    run("policy", "impact", "--store", str(store), "--bundle", str(strict), "--svg", str(drawn), "--json")
    root = Tree.fromstring(drawn.read_text("utf-8"))
    said = "".join(root.itertext())
    assert "Under this policy" in said and "would be denied" in said and "1 of 2 decisions" in said


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("data.yaml", b"version: 1\nrolls: {}\n", "data.yaml:"),
        ("new.tar.gz", b"no archive", "new.tar.gz"),
        ("missing.yaml", None, "missing.yaml"),
        ("missing.tar.gz", None, "missing.tar.gz"),
    ],
)
def test_a_broken_policy_is_named(
    run: Run, store: Path, tmp_path: Path, name: str, content: bytes | None, words: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    ran = run("policy", "impact", "--store", str(store), "--bundle", str(tmp_path / name), "--json")
    assert ran.exit == Exit.USAGE and words in ran.document["error"]["message"]


def test_nonsense_for_a_time_and_a_store_that_is_none_are_named(run: Run, store: Path, strict: Path) -> None:
    nonsense = run("policy", "impact", "--store", str(store), "--bundle", str(strict), "--since", "soon", "--json")
    assert nonsense.exit == Exit.USAGE and nonsense.document["error"]["field"] == "since"
    missing = run("policy", "impact", "--store", str(store.parent / "none.db"), "--bundle", str(strict), "--json")
    assert missing.exit == Exit.NOT_FOUND and "none.db" in missing.document["error"]["message"]
    unreadable = run("policy", "impact", "--store", str(strict), "--bundle", str(strict), "--json")
    assert unreadable.exit == Exit.UNAVAILABLE and "strict.yaml" in unreadable.document["error"]["message"]


def test_no_decision_in_the_time_is_said(run: Run, home: Path, strict: Path, library: MakeEngine) -> None:
    make_deployment(home, Deployment("dev", dev=True))
    assert run("policy", "impact", "--bundle", str(strict), "--json").exit == Exit.NOT_FOUND

    async def long_ago() -> None:
        gate = Gate(home / "state" / "gateway" / "store.db", library())
        gate.clock.now = now_ms() - 40 * 24 * 3600 * 1000
        await gate.open()
        await gate.ask()
        await gate.close()

    asyncio.run(long_ago())
    ran = run("policy", "impact", "--bundle", str(strict), "--json")
    assert ran.exit == Exit.NOT_FOUND and "last 7d" in ran.document["error"]["message"]
    assert run("policy", "impact", "--bundle", str(strict), "--since", "8w", "--json").document["decisions"] == 1
