"""What is left out of decision records, where a record says so, and what no pointer may reach."""

from __future__ import annotations

from typing import Any

import pytest

from lockgate.contract.redaction import MASK
from lockgate.gateway.operations.masking import (
    DIGEST,
    MAX_NAMED,
    Masking,
    PointerInvalid,
    read_hidden_pointer,
    read_pointer,
)

KEY = b"k" * 32


def document(**changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "arguments": {"user": "ann", "password": "hunter22", "a/b~c": "x", "deep": [{"k": 1}, {"k": 2}]},
        "reason": "because of hunter22",
        "plan": None,
    }
    return {**made, **changes}


def plan(*changes: dict[str, Any]) -> dict[str, Any]:
    return {"resource_changes": [{"address": f"a.b{n}", "change": change} for n, change in enumerate(changes)]}


def hiding(*pointers: str) -> Masking:
    return Masking(KEY, hide=tuple(read_hidden_pointer(text) for text in pointers))


def test_a_pointer_hides_one_value_and_the_record_says_where() -> None:
    given = document()
    found, where = hiding("/arguments/password", "/arguments/absent").hidden(given)
    assert found["arguments"]["password"].startswith(DIGEST)
    assert found["arguments"]["user"] == "ann"
    assert where == ("/arguments/password",)
    assert given == document()


def test_a_star_is_every_key_and_index_and_pointers_are_escaped() -> None:
    found, where = hiding("/arguments/deep/*/k", "/arguments/a~1b~0c").hidden(document())
    assert where == ("/arguments/a~1b~0c", "/arguments/deep/0/k", "/arguments/deep/1/k")
    assert found["arguments"]["deep"][0]["k"] != found["arguments"]["deep"][1]["k"]


def test_equal_values_stay_equal_and_another_key_tells_nothing_of_them() -> None:
    first = hiding("/arguments/password").hidden(document())[0]["arguments"]["password"]
    again = hiding("/arguments/*").hidden(document())[0]["arguments"]["password"]
    other = Masking(b"o" * 32, hide=(read_hidden_pointer("/arguments/password"),)).hidden(document())[0]
    assert first == again != other["arguments"]["password"]


def test_where_nothing_is_to_hide_the_document_is_the_very_same() -> None:
    given = document(plan=plan({"after": {"a": 1}, "after_sensitive": {"tags": {}, "list": [{}]}}))
    assert Masking(KEY).hidden(given)[0] is given
    assert Masking(KEY).masked(given, {"violations": []})[0] is given


def test_what_a_tool_marked_and_the_runner_left_is_hidden() -> None:
    change = {
        "before": {"secret": "s3cret", "open": 1},
        "before_sensitive": True,
        "after": {"secret": "s3cret", "open": 1, "list": ["p", "q"], "none": None, "done": DIGEST + "00"},
        "after_sensitive": {"secret": True, "list": [False, True], "none": True, "done": True, "open": {}},
    }
    found, where = Masking(KEY).hidden(document(plan=plan({"after": {}}, change)))
    after = found["plan"]["resource_changes"][1]["change"]["after"]
    assert after["secret"].startswith(DIGEST)
    assert (after["open"], after["list"][0], after["none"], after["done"]) == (1, "p", None, DIGEST + "00")
    at = "/plan/resource_changes/1/change"
    assert where == (f"{at}/after/list/1", f"{at}/after/secret", f"{at}/before")


def test_a_mark_that_does_not_fit_its_value_hides_all_of_it() -> None:
    change = {"after": {"a": "text"}, "after_sensitive": {"a": {"b": True}}}
    found, _ = Masking(KEY).hidden(document(plan=plan(change)))
    assert found["plan"]["resource_changes"][0]["change"]["after"]["a"].startswith(DIGEST)


def test_a_literal_where_a_reference_belongs_is_hidden_and_a_reference_is_not() -> None:
    given = document(arguments={"token": "abc", "other": "secret://team/token"})
    found, where = Masking(KEY).hidden(given, ("other", "token"))
    assert (where, found["arguments"]["other"]) == (("/arguments/token",), "secret://team/token")


def test_a_masked_value_is_not_in_the_answers_details_either() -> None:
    masking = Masking(KEY, mask=(read_pointer("/arguments/password"),))
    said: dict[str, Any] = {
        "violations": [{"rule": "hunter22", "details": {"saw": "it was hunter22!"}}],
        "allow": False,
    }
    found, kept, where = masking.masked(document(), said)
    assert where == ("/arguments/password",)
    assert "hunter22" not in str(found["arguments"])
    assert kept["violations"] == [{"rule": "hunter22", "details": {"saw": "it was •••!"}}]
    assert said["violations"][0]["details"] == {"saw": "it was hunter22!"}


def test_a_masked_value_is_not_in_what_a_brought_rule_said_either() -> None:
    masking = Masking(KEY, mask=(read_pointer("/arguments/password"),))
    readings = [
        {"name": "hunter22", "value": ["the password hunter22 is weak"]},
        {"name": "none", "verdict": "undefined"},
    ]
    said: dict[str, Any] = {"violations": [], "readings": readings, "allow": True}
    _, kept, _ = masking.masked(document(), said)
    assert kept["readings"] == [
        {"name": "hunter22", "value": ["the password ••• is weak"]},
        {"name": "none", "verdict": "undefined"},
    ]
    assert said["readings"][0]["value"] == ["the password hunter22 is weak"]


def test_a_masked_number_is_not_in_what_policy_said_of_it() -> None:
    masking = Masking(KEY, mask=(read_pointer("/arguments/port"), read_pointer("/arguments/rate")))
    details = {
        "port": 5432,
        "ports": [22, 5432.0, "5432"],
        "range": "5431-5432, db5432 at 5432.0",
        "5432": {"left": -5432, "rate": 0.25},
        "near": [54320, 15432, "54321 and 1.54321", 5433],
        "dotted": ["10.0.1.5432", "5432.7", "v5432.1e3", "-5432.9"],
        "waitable": True,
    }
    said: dict[str, Any] = {
        "violations": [{"rule": "ports", "details": details}],
        "readings": [{"name": "score", "value": 5432}, {"name": "passed", "value": True}],
    }
    _, kept, where = masking.masked(document(arguments={"port": 5432, "rate": 0.25}), said)
    assert where == ("/arguments/port", "/arguments/rate")
    assert kept["violations"][0]["details"] == {
        "port": MASK,
        "ports": [22, MASK, MASK],
        "range": f"5431{MASK}, db{MASK} at {MASK}",
        MASK: {"left": -5432, "rate": MASK},
        "near": [54320, 15432, "54321 and 1.54321", 5433],
        "dotted": [f"10.0.1.{MASK}", f"{MASK}.7", f"v{MASK}.1e3", f"{MASK}.9"],
        "waitable": True,
    }
    assert kept["readings"] == [{"name": "score", "value": MASK}, {"name": "passed", "value": True}]
    assert details["port"] == 5432


def test_a_masked_text_too_short_to_look_for_inside_others_is_found_whole() -> None:
    masking = Masking(KEY, mask=(read_pointer("/arguments/pin"),))
    said: dict[str, Any] = {"violations": [{"rule": "pin", "details": {"saw": "ab", "about": ["abc", "ab"], "ab": 1}}]}
    _, kept, _ = masking.masked(document(arguments={"pin": "ab"}), said)
    assert kept["violations"][0]["details"] == {"saw": MASK, "about": ["abc", MASK], MASK: 1}


def test_a_number_that_policy_read_out_of_a_masked_text_is_masked() -> None:
    masking = Masking(KEY, mask=(read_pointer("/arguments/*"),))
    details = {"port": 22, "ports": [22.0, "22", "port 22", 2200], "most": 0.5, "version": "v1.22.3", "high": 1e99}
    said: dict[str, Any] = {"violations": [{"rule": "ports", "details": details}]}
    given = document(arguments={"port": "22", "rate": "5e-1", "long": "9" * 500, "name": "1.2.3"})
    _, kept, _ = masking.masked(given, said)
    assert kept["violations"][0]["details"] == {
        "port": MASK,
        "ports": [MASK, MASK, f"port {MASK}", 2200],
        "most": MASK,
        "version": f"v1.{MASK}.3",
        "high": 1e99,
    }


def test_a_masked_truth_changes_no_other_truth() -> None:
    masking = Masking(KEY, mask=(read_pointer("/arguments/on"),))
    said: dict[str, Any] = {"violations": [{"rule": "on", "details": {"waitable": True, "count": 1}}]}
    assert masking.masked(document(arguments={"on": True}), said)[1] == said


def test_long_runs_of_digits_cost_no_more_than_their_length() -> None:
    masking = Masking(KEY, mask=(read_pointer("/arguments/port"),))
    text = "5432" * 100_000
    said: dict[str, Any] = {"violations": [{"rule": "r", "details": {"text": text}}]}
    assert masking.masked(document(arguments={"port": 1}), said)[1] == said


def test_a_record_names_no_more_pointers_than_it_has_room_for() -> None:
    given = document(arguments={"list": list(range(MAX_NAMED + 1))})
    _, where = hiding("/arguments/list/*").hidden(given)
    assert where == ("/arguments/list/*",)


@pytest.mark.parametrize(
    "text",
    [
        "arguments/password",
        "/",
        "/*",
        "/version",
        "/arguments" + "/a" * 300,
        "/arguments",
        "/action/name",
        "/subject/roles",
        "/plan/resource_changes/0/address",
        "/plan/digests/file_sha256",
        "/context/freeze",
    ],
)
def test_what_policy_cannot_do_without_is_not_hidden(text: str) -> None:
    with pytest.raises(PointerInvalid, match=r"must (be a JSON pointer|begin with|point below)"):
        read_hidden_pointer(text)
