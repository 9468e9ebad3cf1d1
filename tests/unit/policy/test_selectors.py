"""Selectors mean the same in Rego, where policy decides, and in Python, where the gateway adds up budgets; and roles hold to them."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockgate.contract.decision import Question
from lockgate.policy.bundle import LIBRARY
from lockgate.policy.compile import entrypoint
from lockgate.policy.input import encode_input
from lockgate.policy.parameters import read_parameters
from lockgate.policy.port import PolicyLoadError
from lockgate.policy.selectors import selector, selects
from lockgate.policy.wasm import Bounds, PolicyInstance, PolicyModule
from lockgate.testing.policy_engine import example_input

DATA: dict[str, Any] = {
    "version": 1,
    "roles": {},
    "bindings": [],
    "regions": {"default": ["*"]},
    "approvals": {"approvers": ["r0"], "standard": {"count": 1, "groups": [], "expires_in_seconds": 60}},
}
names = st.lists(st.sampled_from(["a", "b", "*"]), min_size=1, max_size=2, unique=True)
labels = st.dictionaries(
    st.sampled_from(["team", "tier"]),
    st.lists(st.sampled_from(["x", "y", "", "*"]), min_size=1, max_size=2),
    min_size=1,
    max_size=2,
)
parts = {"names": names, "environments": names, "regions": names, "labels": labels}
excepted = st.fixed_dictionaries({}, optional=parts).filter(bool)
selectors = st.fixed_dictionaries({}, optional={**parts, "except": st.lists(excepted, min_size=1, max_size=2)}).filter(
    bool
)
value = st.sampled_from(["a", "b", "c"])
targets = st.fixed_dictionaries(
    {
        "name": value,
        "environment": value,
        "region": value,
        "labels": st.dictionaries(st.sampled_from(["team", "tier", "other"]), st.sampled_from(["x", "y", "z", ""])),
    }
)


@pytest.fixture(scope="module")
def module():
    module = PolicyModule(LIBRARY.joinpath("policy.wasm").read_bytes())
    yield module
    module.close()


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.lists(selectors, min_size=8, max_size=8), st.lists(targets, min_size=8, max_size=8))
def test_the_gateway_selects_what_policy_selects(module: PolicyModule, asked: list[Any], things: list[Any]) -> None:
    roles = {f"r{number}": {"targets": one} for number, one in enumerate(asked)}
    bindings = [{"subject": {"role": name}, "roles": [name]} for name in roles]
    parameters = read_parameters(json.dumps({**DATA, "roles": roles, "bindings": bindings}), "data.json")
    data = json.dumps({"lockgate": {"parameters": parameters}}).encode()
    instance = PolicyInstance(module, data, Bounds(seconds=5))
    for number, one in enumerate(asked):
        for target in things:
            subject = {**example_input(Question.LIST)["subject"], "roles": [f"r{number}"]}
            document = encode_input(example_input(Question.LIST, subject=subject, target=target))
            answer = instance.evaluate(entrypoint(Question.LIST), document)
            assert answer["allow"] == selects(selector(one), target), (one, target)


def test_a_star_among_names_is_any_and_selects_what_has_no_target_too() -> None:
    assert selector({"names": ["*", "web"], "environments": ["*"]}) is None


def test_a_star_as_a_label_is_any_value_and_not_no_label() -> None:
    any_team = selector({"labels": {"team": ["*"]}})
    target = {"name": "a", "environment": "b", "region": "c"}
    assert selects(any_team, {**target, "labels": {"team": ""}})
    assert not selects(any_team, {**target, "labels": {}})


@pytest.mark.parametrize(
    ("targets", "field"),
    [
        ("{names: [web-*]}", "roles.r.targets.names[0]"),
        ("{environments: ['*prod']}", "roles.r.targets.environments[0]"),
        ("{regions: ['']}", "roles.r.targets.regions[0]"),
        ("{labels: {team: ['w*']}}", "roles.r.targets.labels.team[0]"),
        ("{except: []}", "roles.r.targets.except"),
        ("{except: [{}]}", "roles.r.targets.except[0]"),
        ("{except: [{except: [{names: [a]}]}]}", "roles.r.targets.except[0].except"),
        ("{}", "roles.r.targets"),
    ],
)
def test_a_selector_that_would_silently_select_nothing_is_refused(targets: str, field: str) -> None:
    """`web-*` as a name selects nothing: for a role that is safe, for a limit it would be no limit."""
    text = (
        f"version: 1\nroles:\n  r:\n    targets: {targets}\nbindings: []\nregions: {{}}\n"
        "approvals:\n  approvers: [r]\n  standard: {count: 1, groups: [], expires_in_seconds: 60}\n"
    )
    with pytest.raises(PolicyLoadError) as refused:
        read_parameters(text, "data.yaml")
    assert (refused.value.field, refused.value.line) == (field, 4)


@pytest.mark.parametrize(
    ("groups", "field"),
    [
        ("groups: {r: 2}, expires_in_seconds: 60", None),
        ("count: 3, groups: {r: 2}, expires_in_seconds: 60", None),
        ("groups: [r], expires_in_seconds: 60", "approvals.standard"),
        ("groups: {r: 0}, expires_in_seconds: 60", "approvals.standard.groups"),
        ("groups: {s: 1}, expires_in_seconds: 60", "approvals.standard.groups.s"),
        ("groups: {}, expires_in_seconds: 60", "approvals.standard.groups"),
    ],
)
def test_groups_with_numbers_are_read_and_those_that_mean_nothing_refused(groups: str, field: str | None) -> None:
    text = f"version: 1\nroles: {{r: {{}}}}\nbindings: []\nregions: {{}}\napprovals:\n  approvers: [r]\n  standard: {{{groups}}}\n"
    if field is None:
        standard = read_parameters(text, "data.yaml")["approvals"]["standard"]
        assert standard == {"count": 3 if "3" in groups else 2, "groups": {"r": 2}, "expires_in": 60}
        return
    with pytest.raises(PolicyLoadError) as refused:
        read_parameters(text, "data.yaml")
    assert (refused.value.field, refused.value.line) == (field, 7)
