"""Plans are recomputed from their canonical bytes; nothing a report says is believed."""

from typing import Any

import pytest

from lockgate.contract.canonical import canonical, sha256
from lockgate.contract.codec import DocumentError
from lockgate.contract.plan import Fidelity, PlanSummary, plan_digests, read_plan, summarise


def change(*actions: str) -> dict[str, Any]:
    return {"address": "x", "change": {"actions": list(actions)}}


def document(**fields: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "version": 1,
        "driver": "opentofu",
        "fidelity": "exact",
        "inputs_sha256": "sha256:" + "1" * 64,
        "resource_changes": [change("create"), change("delete", "create")],
        "incomplete": [],
        "provisioners": [],
        "providers": [],
        "document": {"terraform_version": "1.11.4"},
    }
    return made | fields


def test_each_change_counts_once_by_what_would_happen() -> None:
    changes = [
        change("create"),
        change("update"),
        change("delete"),
        change("forget"),
        change("delete", "create"),
        change("create", "delete"),
        change("no-op"),
        change("read"),
    ]
    assert summarise(changes) == PlanSummary(create=1, update=1, delete=2, replace=2)
    assert summarise([change("no-op"), change("read")]).empty
    assert not any(summarise([item]).empty for item in changes[:6])


def test_what_changes_the_state_alone_is_an_update_and_not_nothing() -> None:
    moved = {**change("no-op"), "previous_address": "y"}
    imported = {"address": "x", "change": {"actions": ["no-op"], "importing": {"id": "i-1"}}}
    assert summarise([moved, imported]) == PlanSummary(create=0, update=2, delete=0, replace=0)
    assert summarise([{**change("update"), "previous_address": "y"}]).update == 1, "once, however it changes"


def outputs(*actions: Any) -> dict[str, Any]:
    return {"output_changes": {f"o{number}": item for number, item in enumerate(actions)}}


@pytest.mark.parametrize(
    ("rest", "counted"),
    [
        (outputs({"actions": ["no-op"]}), 0),
        (outputs({"actions": ["update"]}, {"actions": ["no-op"]}, {"actions": ["create"]}), 2),
        (outputs({}), 1),
        (outputs(None), 1),
        ({"output_changes": []}, 1),
        ({}, 0),
    ],
)
def test_outputs_that_change_alone_are_updates_and_an_odd_one_counts(rest: dict[str, Any], counted: int) -> None:
    plan = read_plan(canonical(document(resource_changes=[change("no-op")], document=rest)))
    assert (plan.summary.update, plan.summary.empty) == (counted, counted == 0)
    beside = read_plan(canonical(document(document=rest)))
    assert beside.summary == summarise(beside.resource_changes), "beside changes of resources they are not counted"


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"change": None},
        {"change": {}},
        change(),
        change("destroy"),
        change("create", "x"),
        {"change": {"actions": "create"}},
    ],
)
def test_an_action_nobody_knows_is_an_error_not_no_change(odd: dict[str, Any]) -> None:
    with pytest.raises(DocumentError, match=r"resource_changes\[1\]\.change\.actions"):
        summarise([change("create"), odd])


def test_a_canonical_plan_is_read_and_named_by_its_bytes() -> None:
    data = canonical(document())
    plan = read_plan(data)
    assert (plan.fidelity, plan.summary) == (Fidelity.EXACT, PlanSummary(1, 0, 0, 1))
    digests = plan_digests(data, plan, "sha256:file")
    assert (digests.file_sha256, digests.inputs_sha256) == ("sha256:file", plan.inputs_sha256)
    assert digests.semantic_sha256 == sha256(data)


def test_what_is_applied_of_a_predicted_plan_is_its_inputs_and_of_an_exact_one_its_file() -> None:
    data = canonical(document(fidelity="predicted", document=None))
    plan = read_plan(data)
    assert plan_digests(data, plan).file_sha256 == plan.inputs_sha256
    with pytest.raises(ValueError, match="file_sha256"):
        plan_digests(data, plan, "sha256:file")
    with pytest.raises(ValueError, match="file_sha256"):
        plan_digests(data, read_plan(canonical(document())))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (canonical(document()) + b" ", "not in RFC 8785 form"),
        (b'{"version":1,"version":1}', "twice"),
        (canonical(document(extra=1)), "extra: is not known"),
        (canonical(document(fidelity="sure")), "fidelity"),
        (canonical(document(resource_changes=[{}] * 10_001)), "more than 10000"),
        (canonical(document(resource_changes=[change("melt")])), r"resource_changes\[0\]"),
        (b"x" * ((8 << 20) + 1), "at most"),
        (b"[" * 100, "deeper"),
    ],
    ids=range(8),
)
def test_a_plan_that_is_not_exactly_one_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(DocumentError, match=message):
        read_plan(data)
