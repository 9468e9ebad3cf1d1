"""`lockgate policy friction` on a copy of a store: what it prints, draws and refuses; and that it changes nothing."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import xml.etree.ElementTree as Tree
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.cli.conftest import Ran

from lockgate.cli.exits import Exit
from lockgate.cli.home import now_ms
from lockgate.cli.show.bars import bar, draws_blocks, sparkline
from lockgate.cli.show.friction import percent
from lockgate.cli.since import seconds_of
from lockgate.gateway.operations.model import Reason
from lockgate.gateway.operations.states import State
from lockgate.gateway.store.port import GetEpoch
from lockgate.gateway.store.sqlite import SqliteStore
from lockgate.testing.records import admit, operation, principal

Run = Callable[..., Ran]
NASTY = "<script>&\u202eevil"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Four requests of now and one of last month; two were denied, one of them by a rule with a nasty name."""
    path = tmp_path / "kept" / "store.db"
    now = now_ms()

    async def fill() -> None:
        store = SqliteStore(path)
        await store.migrate()
        rules = {"op-1": "role", "op-2": NASTY, "op-old": "role"}
        for name in ("op-old", "op-1", "op-2", "op-3", "op-4"):
            at = now - (40 if name == "op-old" else 0) * 24 * 3600 * 1000
            denied = name in rules
            reasons = (Reason(rules[name], "No role", "why", "Ask for a role."),) if denied else ()
            made = operation(name, created_at=at, state=State.DENIED if denied else State.QUEUED, reasons=reasons)
            made = replace(made, principal=principal(f"agent-{name[-1]}"))
            await store.commit(admit(made, epoch=await store.read(GetEpoch())))
        await store.close()

    asyncio.run(fill())
    return path


def test_a_copy_is_measured_without_a_gateway_and_left_as_it_was(run: Run, store: Path) -> None:
    (store.parent / "store.db.lock").unlink()
    before = {item.name: hashlib.sha256(item.read_bytes()).hexdigest() for item in store.parent.iterdir()}
    found = run("policy", "friction", "--store", str(store), "--json").document
    assert (found["denied"], found["asked"], found["objective"]["met"]) == (2, 4, False)
    assert run("policy", "friction", "--store", str(store), "--since", "8w", "--json").document["denied"] == 3
    after = {item.name: hashlib.sha256(item.read_bytes()).hexdigest() for item in store.parent.iterdir()}
    assert after == before


def test_people_read_the_sentence_the_objective_the_bars_and_the_fix(run: Run, store: Path) -> None:
    text = run("policy", "friction", "--store", str(store)).out
    assert "2 of 4 requests were denied (50 %). Objective: under 2 %: missed" in text
    assert "not counted as denied: 2 that wait or are under way" in text
    assert "role: No role. Fix: Ask for a role." in text
    assert any(line.strip().startswith("role") and "1" in line and "25 %" in line for line in text.splitlines())
    assert "\u202e" not in text
    by_agent = run("policy", "friction", "--store", str(store), "--by", "agent").out
    assert "https://issuer.example#agent-1" in by_agent and "100 %" in by_agent
    assert run("policy", "friction", "--store", str(store), "--by", "day").out.count("nothing") == 0


def test_the_picture_is_one_file_that_stands_alone_and_trusts_no_name(run: Run, store: Path, tmp_path: Path) -> None:
    drawn = tmp_path / "friction.svg"
    ran = run("policy", "friction", "--store", str(store), "--svg", str(drawn), "--json")
    assert ran.document["denied"] == 2
    text = drawn.read_text("utf-8")
    root = Tree.fromstring(text)
    names = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert names <= {"svg", "title", "desc", "rect", "text", "line"}
    assert "href" not in text and "\u202e" not in text
    said = "".join(root.itertext())
    assert "2 of 4 requests were denied" in said and "objective: under 2 %" in said and "<script>&" in said


@pytest.mark.parametrize("since", ["", "7", "7 days", "-1d", "0d", "1.5h", "9999w", "367d", "d7", "７d"])
def test_nonsense_for_a_time_is_named(run: Run, store: Path, since: str) -> None:
    ran = run("policy", "friction", "--store", str(store), "--since", since, "--json")
    assert ran.exit == Exit.USAGE
    assert ran.document["error"]["field"] == "since" and "7d" in ran.document["error"]["fix"]


def test_times_are_read_in_four_units() -> None:
    assert [seconds_of(text) for text in ("90m", "12h", "7d", "4w", "366d")] == [
        5400,
        43_200,
        604_800,
        2_419_200,
        31_622_400,
    ]


def test_no_request_in_range_is_said_and_is_no_failure(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "empty" / "store.db"

    async def make() -> None:
        store = SqliteStore(path)
        await store.migrate()
        await store.close()

    asyncio.run(make())
    ran = run("policy", "friction", "--store", str(path))
    assert ran.exit == Exit.OK and "nothing was asked" in ran.out
    assert run("policy", "friction", "--store", str(path), "--json").document["objective"]["met"] is None


def test_what_is_no_store_is_said_by_name(run: Run, tmp_path: Path) -> None:
    missing = run("policy", "friction", "--store", str(tmp_path / "none.db"), "--json")
    assert missing.exit == Exit.NOT_FOUND and "none.db" in missing.document["error"]["message"]
    text = tmp_path / "text.db"
    text.write_text("not a database at all, but long enough to look like one\n" * 50)
    other = tmp_path / "other.db"
    database = sqlite3.connect(other)
    database.execute("CREATE TABLE something (a)")
    database.commit()
    database.close()
    for path in (text, other):
        ran = run("policy", "friction", "--store", str(path), "--json")
        assert ran.exit == Exit.UNAVAILABLE, ran.out
        assert path.name in ran.document["error"]["message"]


def test_bars_and_lines_have_plain_letters_where_there_are_no_blocks() -> None:
    assert draws_blocks("utf-8") and not draws_blocks("ascii") and not draws_blocks("latin-1")
    assert bar(1, 2, width=4) == "██" and bar(1, 2, width=4, blocks=False) == "##"
    assert bar(1, 1000, width=4) == "▏" and bar(1, 1000, width=4, blocks=False) == "#" and bar(0, 5) == ""
    assert sparkline([0.0, None, 0.5, 1.0]) == "▁ ▅█"
    assert sparkline([0.0, None, 1.0], blocks=False) == "_ #"


def test_percent_keeps_two_digits() -> None:
    assert [percent(share) for share in (None, 0.0, 0.02, 1 / 60, 1.0)] == ["none", "0 %", "2 %", "1.67 %", "100 %"]
