"""`lockgate policy replay` and `policy decisions` on a copy of a store: what they find, print, refuse and export; and that they change nothing."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.invariants.days import a_busy_day, every_record
from tests.invariants.gate import Gate
from tests.unit.cli.conftest import Ran

from lockgate.cli.exits import Exit
from lockgate.cli.home import now_ms
from lockgate.gateway.operations.masking import Masking, read_hidden_pointer, read_pointer
from lockgate.gateway.store.port import KeepBundle
from lockgate.policy.bundle import load_library
from lockgate.policy.embedded import EmbeddedEngine
from lockgate.policy.keeping import packed
from lockgate.policy.replay import UNHURRIED

Run = Callable[..., Ran]


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of one busy day; not to be changed."""
    path = tmp_path_factory.mktemp("day") / "kept" / "store.db"

    async def live() -> None:
        gate = Gate(path, EmbeddedEngine(load_library(), UNHURRIED))
        gate.clock.now = now_ms() - 3_600_000
        await gate.open()
        gate.core.masking = Masking(
            b"k" * 32, hide=(read_hidden_pointer("/reason"),), mask=(read_pointer("/context/requester/on_behalf_of"),)
        )
        bundle = gate.core.policy.bundle
        await gate.core.commit(KeepBundle(bundle.revision, packed(bundle), gate.clock()))
        await a_busy_day(gate)
        assert len(await every_record(gate)) > 15
        await gate.close()
        await gate.engine.close()

    asyncio.run(live())
    return path


@pytest.fixture
def store(day: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    path = tmp_path / "copy" / "store.db"
    path.parent.mkdir(mode=0o700)
    path.write_bytes(day.read_bytes())
    path.chmod(0o600)
    return path


def changed(store: Path, *statements: str) -> None:
    database = sqlite3.connect(store)
    for statement in statements:
        database.execute(statement)
    database.commit()
    database.close()


def decisions(store: Path, where: str = "1") -> list[str]:
    database = sqlite3.connect(store)
    found = [row[0] for row in database.execute(f"SELECT id FROM decision WHERE {where} ORDER BY at, ordinal")]
    database.close()
    return found


def test_every_decision_of_a_day_replays_and_the_copy_is_left_as_it_was(run: Run, day: Path) -> None:
    before = {item.name: hashlib.sha256(item.read_bytes()).hexdigest() for item in day.parent.iterdir()}
    ran = run("policy", "replay", "--all", "--store", str(day), "--json")
    count = len(decisions(day))
    assert (ran.exit, ran.document["same"], ran.document["replayed"]) == (Exit.OK, count, count)
    assert run("policy", "replay", "--since", "7d", "--store", str(day), "--json").document["same"] == count
    assert run("policy", "replay", "--since", "1m", "--store", str(day), "--json").document["replayed"] == 0
    after = {item.name: hashlib.sha256(item.read_bytes()).hexdigest() for item in day.parent.iterdir()}
    assert after == before


def test_a_changed_answer_is_told_and_fails(run: Run, store: Path) -> None:
    denied = decisions(store, "question = 'request' AND CAST(document AS TEXT) LIKE '%None of the caller%'")[0]
    sql = "CAST(replace(CAST(document AS TEXT), 'None of the caller', 'All of the caller') AS BLOB)"
    changed(store, f"UPDATE decision SET document = {sql} WHERE id = '{denied}'")
    ran = run("policy", "replay", "--all", "--store", str(store), "--json")
    assert (ran.exit, ran.document["altered"]) == (Exit.FAILED, 1)
    (told,) = ran.document["decisions"]
    assert (told["decision"], told["verdict"]) == (denied, "altered")
    text = run("policy", "replay", denied, "--store", str(store))
    assert text.exit == Exit.FAILED
    assert "1 decisions were made again: 1 altered" in text.out and "record_sha256" in text.out


@pytest.mark.parametrize("moved", ["at = at + 86400000", "tenant = 'another'"])
def test_a_record_of_another_hour_or_tenant_than_the_log_says_is_altered(run: Run, store: Path, moved: str) -> None:
    one = decisions(store, "question = 'request'")[0]
    changed(store, f"UPDATE decision SET {moved} WHERE id = '{one}'")
    ran = run("policy", "replay", one, "--store", str(store), "--json")
    assert (ran.exit, ran.document["decisions"][0]["verdict"]) == (Exit.FAILED, "altered")


def forged(store: Path, victim: str, donor: str) -> None:
    """The record of `victim` says all that the one of `donor` says, so that by itself it replays to the byte."""
    columns = ("question", "allow", "input", "part", "cut", "pointers")
    taken = ", ".join(f"{name} = (SELECT {name} FROM decision WHERE id = '{donor}')" for name in columns)
    document = f"(SELECT CAST(replace(CAST(document AS TEXT), '{donor}', '{victim}') AS BLOB) FROM decision WHERE id = '{donor}')"
    changed(store, f"UPDATE decision SET {taken}, document = {document} WHERE id = '{victim}'")


def test_a_record_that_was_replaced_by_one_that_replays_is_altered(run: Run, store: Path) -> None:
    request = "question = 'request' AND operation IS NOT NULL"
    denied, allowed = decisions(store, f"{request} AND NOT allow")[0], decisions(store, f"{request} AND allow")[0]
    forged(store, denied, allowed)
    ran = run("policy", "replay", "--all", "--store", str(store), "--json")
    assert (ran.exit, ran.document["altered"], ran.document["same"]) == (Exit.FAILED, 1, len(decisions(store)) - 1)
    (told,) = ran.document["decisions"]
    assert told["decision"] == denied
    why = told["engines"]["log"]["why"]
    assert "of the audit log says was decided: allow, rules, input_sha256, record_sha256" in why
    shown = run("policy", "replay", denied, "--store", str(store))
    assert "1 decisions were made again: 1 altered" in shown.out


@pytest.mark.parametrize(
    ("statements", "why"),
    [
        # What was masked has no digest of its own in the record: the log has one of what is kept.
        (
            [
                "UPDATE decision SET input = CAST(replace(CAST(input AS TEXT), '\"region\"', '\"regiom\"') AS BLOB) WHERE question = 'approve'"
            ],
            "input",
        ),
        # One that says to be masked would be let off the digest of its input.
        (
            [
                'UPDATE decision SET pointers = \'{"hidden": [], "masked": ["/reason"]}\''
                " WHERE question = 'request' AND operation IS NOT NULL"
            ],
            "record_sha256, input",
        ),
        (["UPDATE decision SET operation = 'op_none' WHERE question = 'request'"], "has no entry of this decision"),
        (
            [
                "UPDATE decision SET id = 'dec_invented' WHERE id = (SELECT min(id) FROM decision WHERE question = 'admin')"
            ],
            "has no entry of this decision",
        ),
        (
            [
                "DROP TRIGGER audit_entry_never_changes",
                "UPDATE audit_entry SET body = CAST(replace(CAST(body AS TEXT), 'sha256:', 'sha256;') AS BLOB)",
            ],
            "was itself changed: lockgate audit verify",
        ),
    ],
)
def test_a_record_that_is_not_what_the_log_says_is_altered(
    run: Run, store: Path, statements: list[str], why: str
) -> None:
    changed(store, *statements)
    ran = run("policy", "replay", "--all", "--store", str(store), "--json")
    assert ran.exit == Exit.FAILED
    found = [item["engines"]["log"]["why"] for item in ran.document["decisions"] if item["verdict"] == "altered"]
    assert len(found) == ran.document["altered"] > 0
    assert all(item.endswith(why) for item in found), found


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("UPDATE decision SET input = CAST('{}' AS BLOB) WHERE part IS NULL", "digest that the decision names"),
        ("UPDATE decision SET input = CAST('{' AS BLOB) WHERE part IS NULL", "is no JSON"),
        ("UPDATE decision SET input = CAST(replace(CAST(input AS TEXT), '\"ada\"', '\"eve\"') AS BLOB)", "digest"),
    ],
)
def test_a_damaged_input_is_told_and_fails(run: Run, store: Path, statement: str, why: str) -> None:
    changed(store, statement)
    ran = run("policy", "replay", "--all", "--store", str(store), "--json")
    assert ran.exit == Exit.FAILED and ran.document["damaged"] >= 1
    said = [item["engines"]["embedded"]["why"] for item in ran.document["decisions"] if item["verdict"] == "damaged"]
    assert any(why in item for item in said), said


def test_a_record_that_is_no_record_ends_with_its_name(run: Run, store: Path) -> None:
    name = decisions(store)[0]
    changed(store, f"UPDATE decision SET document = CAST('[]' AS BLOB) WHERE id = '{name}'")
    ran = run("policy", "replay", "--all", "--store", str(store), "--json")
    assert ran.exit == Exit.UNAVAILABLE
    assert f"the stored decision {name} is unreadable" in ran.document["error"]["message"]


def test_what_cannot_be_known_is_unknown_and_says_why(run: Run, store: Path) -> None:
    first, second = decisions(store)[:2]
    changed(store, f"UPDATE decision SET input = NULL WHERE id = '{first}'")
    found = run("policy", "replay", first, "--store", str(store), "--json")
    assert (found.exit, found.document["unknown"]) == (Exit.OK, 1)
    assert found.document["decisions"][0]["engines"]["embedded"]["why"] == "its input is no longer kept"
    changed(store, "DELETE FROM policy_bundle")
    found = run("policy", "replay", second, "--store", str(store), "--json")
    assert found.document["decisions"][0]["engines"]["embedded"]["why"].endswith("is not kept")
    changed(
        store,
        f"INSERT INTO policy_bundle SELECT json_extract(CAST(document AS TEXT), '$.revision'), 1, x'00' "
        f"FROM decision WHERE id = '{second}'",
    )
    found = run("policy", "replay", second, "--store", str(store), "--json")
    assert "the policy that is kept cannot be used" in found.document["decisions"][0]["engines"]["embedded"]["why"]


def test_masked_and_hidden_pointers_are_told(run: Run, day: Path) -> None:
    name = decisions(day, "question = 'approve'")[0]
    found = run("policy", "replay", name, "--store", str(day), "--json").document["decisions"][0]
    assert (found["verdict"], found["hidden"], found["masked"]) == (
        "same",
        ["/reason"],
        ["/context/requester/on_behalf_of"],
    )
    shown = run("policy", "decisions", "show", name, "--store", str(day))
    assert "hidden     /reason (policy did not see it either)" in shown.out
    assert "masked     /context/requester/on_behalf_of (policy saw it)" in shown.out


def test_one_way_to_choose_is_wanted(run: Run, day: Path) -> None:
    for wrong in ([], ["--all", "--since", "7d"], ["dec_1", "--all"]):
        ran = run("policy", "replay", *wrong, "--store", str(day), "--json")
        assert (ran.exit, ran.document["error"]["field"]) == (Exit.USAGE, "decisions")


@pytest.mark.parametrize("name", ["dec_none", "op_none", "x" * 500, "dec_'; DROP TABLE decision; --"])
def test_a_decision_that_is_not_kept_is_not_found(run: Run, day: Path, name: str) -> None:
    for command in (["replay", name], ["decisions", "show", name]):
        ran = run("policy", *command, "--store", str(day), "--json")
        assert ran.exit == Exit.NOT_FOUND
        assert ran.document["error"]["fix"]


def test_the_list_is_newest_first_and_filtered(run: Run, day: Path) -> None:
    rows = run("policy", "decisions", "list", "--limit", "1000", "--store", str(day), "--json").document["decisions"]
    assert [row["id"] for row in rows] == decisions(day)[::-1]
    assert all("input" not in row for row in rows)
    denied = run("policy", "decisions", "list", "--denied", "--question", "admin", "--store", str(day), "--json")
    assert [row["violations"][0]["rule"] for row in denied.document["decisions"]] == ["role"]
    text = run("policy", "decisions", "list", "--limit", "3", "--store", str(day)).out
    assert len(text.strip().splitlines()) == 4
    for option, value in (("--limit", "0"), ("--limit", "1001"), ("--question", "whatever")):
        assert run("policy", "decisions", "list", option, value, "--store", str(day), "--json").exit == Exit.USAGE


def lines(path: Path) -> list[dict[str, Any]]:
    data = path.read_bytes()
    return [json.loads(line) for line in (gzip.decompress(data) if path.suffix == ".gz" else data).splitlines()]


def test_the_export_is_opas_decision_log_and_holds_no_hidden_value(run: Run, day: Path, tmp_path: Path) -> None:
    output, zipped = tmp_path / "decisions.ndjson", tmp_path / "decisions.gz"
    ran = run("policy", "decisions", "export", str(output), "--store", str(day), "--json")
    assert ran.document["decisions"] == len(decisions(day))
    assert output.stat().st_mode & 0o777 == 0o600
    run("policy", "decisions", "export", str(zipped), "--gzip", "--store", str(day), "--json")
    found = lines(output)
    assert found == lines(zipped)
    assert [event["decision_id"] for event in found] == decisions(day)
    asked = next(event for event in found if event["custom"]["question"] == "approve")
    assert asked["masked"] == ["/input/context/requester/on_behalf_of", "/input/reason"]
    assert asked["custom"]["hidden"] == ["/input/reason"]
    assert asked["input"]["reason"].startswith("hmac-sha256:")
    assert asked["requested_by"] == asked["input"]["subject"]["id"]
    assert "more customers" not in output.read_text()


def test_an_export_never_overwrites(run: Run, day: Path, tmp_path: Path) -> None:
    output = tmp_path / "there"
    output.write_text("mine")
    ran = run("policy", "decisions", "export", str(output), "--store", str(day), "--json")
    assert ran.exit == Exit.UNAVAILABLE
    assert output.read_text() == "mine"


def test_an_event_without_an_input_says_that_it_was_erased(run: Run, store: Path, tmp_path: Path) -> None:
    changed(store, "UPDATE decision SET input = NULL, part = NULL, cut = NULL")
    output = tmp_path / "out"
    run("policy", "decisions", "export", str(output), "--store", str(store), "--json")
    event = lines(output)[0]
    assert (event["erased"], event["custom"]["input_problem"]) == (["/input"], "it is no longer kept")
    assert "input" not in event


@pytest.mark.opa
def test_both_engines_decide_again_to_the_byte(run: Run, day: Path, opa: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCKGATE_OPA", str(opa))
    ran = run("policy", "replay", "--all", "--engine", "both", "--store", str(day), "--json")
    count = len(decisions(day))
    assert (ran.exit, ran.document["same"]) == (Exit.OK, count), ran.document["decisions"][:3]
    one = run("policy", "replay", decisions(day)[0], "--engine", "both", "--store", str(day), "--json").document
    assert {name: item["verdict"] for name, item in one["decisions"][0]["engines"].items()} == {
        "embedded": "same",
        "opa": "same",
    }


def test_a_denial_is_explained_with_what_made_it_and_what_would_pass(run: Run, day: Path) -> None:
    name = decisions(day, "question = 'request' AND CAST(document AS TEXT) LIKE '%None of the caller%'")[0]
    found = run("policy", "explain", name, "--store", str(day), "--json").document
    assert [rule["rule"] for rule in found["rules"]] == ["role"]
    assert "/subject/roles" in {cause["pointer"] for cause in found["rules"][0]["made_by"]}
    said = {(cure["pointer"], cure["instead"]): cure["demands"] for cure in found["would_pass"]}
    assert said["/subject/roles", "the role operator"]["sandbox"] == "process"
    assert (found["hidden"], found["problem"]) == (["/reason"], None)
    text = run("policy", "explain", name, "--store", str(day)).out
    assert "would pass with the role operator at /subject/roles" in text
    assert "hidden     /reason" in text


def test_an_operation_is_explained_by_its_last_decision(run: Run, day: Path) -> None:
    shown = run("policy", "decisions", "list", "--question", "plan", "--store", str(day), "--json").document
    operation = shown["decisions"][0]["operation"]
    found = run("policy", "explain", operation, "--store", str(day), "--json").document
    assert (found["operation"], found["question"], found["allow"]) == (operation, "apply", True)
    assert "/subject/roles" in {item["pointer"] for item in found["hangs_on"]}


def test_what_cannot_be_asked_again_is_explained_in_the_records_own_words(run: Run, store: Path) -> None:
    name = decisions(store, "question = 'request' AND NOT allow")[0]
    changed(store, "DELETE FROM policy_bundle")
    ran = run("policy", "explain", name, "--store", str(store))
    assert ran.exit == Exit.OK
    assert "! the policy could not be asked again: the policy sha256:" in ran.out and "fix " in ran.out
    changed(store, f"UPDATE decision SET document = CAST('{{\"revision\": 1}}' AS BLOB) WHERE id = '{name}'")
    ran = run("policy", "explain", name, "--store", str(store), "--json")
    assert (ran.exit, ran.document["error"]["fix"]) == (Exit.FAILED, "lockgate audit verify")


def test_a_record_that_is_not_what_the_log_says_is_not_explained(run: Run, store: Path) -> None:
    name = decisions(store, "question = 'request' AND CAST(document AS TEXT) LIKE '%None of the caller%'")[0]
    assert run("policy", "explain", name, "--store", str(store)).exit == Exit.OK
    changed(
        store,
        f"UPDATE decision SET document = CAST(replace(CAST(document AS TEXT), 'None of the caller', 'All of the caller') AS BLOB) WHERE id = '{name}'",
    )
    ran = run("policy", "explain", name, "--store", str(store), "--json")
    assert (ran.exit, ran.document["error"]["fix"]) == (Exit.FAILED, "lockgate audit verify")
    assert f"the record of {name} was altered: it is not what entry" in ran.document["error"]["message"]
