"""Parameters of the operational and Kubernetes rules: what means nothing is refused with its line and field."""

import pytest

from lockgate.policy.parameters import read_parameters
from lockgate.policy.port import PolicyLoadError

PLAIN = """version: 1
roles: {r: {}}
bindings: []
regions: {}
approvals: {approvers: [r], standard: {count: 1, groups: [r], expires_in_seconds: 60}}
rules:
"""
AFTER = "after: {outcomes: [denied]}"
FORBID = "forbid: {effects: [destroy]}"


@pytest.mark.parametrize(
    ("rule", "entry", "field"),
    [
        ("sequence", f"{{effect: deny, {AFTER}, {FORBID}}}", ""),
        ("sequence", f"{{effect: deny, {AFTER}, within_seconds: 60}}", ""),
        ("sequence", f"{{effect: deny, {FORBID}, within_seconds: 60}}", ""),
        ("sequence", f"{{{AFTER}, {FORBID}, within_seconds: 60}}", ""),
        ("sequence", f"{{effect: deny, after: {{target: any}}, {FORBID}, within_seconds: 60}}", ".after"),
        (
            "sequence",
            f"{{effect: deny, after: {{outcomes: [gone]}}, {FORBID}, within_seconds: 60}}",
            ".after.outcomes[0]",
        ),
        ("sequence", f"{{effect: deny, {AFTER}, forbid: {{}}, within_seconds: 60}}", ".forbid"),
        ("sequence", f"{{effect: deny, {AFTER}, {FORBID}, within_seconds: 0}}", ".within_seconds"),
        ("sequence", f"{{effect: deny, {AFTER}, {FORBID}, within_seconds: 2592001}}", ".within_seconds"),
        (
            "sequence",
            f"{{effect: deny, {AFTER}, forbid: {{actions: ['*wipe']}}, within_seconds: 1}}",
            ".forbid.actions[0]",
        ),
        ("heal_limits", "{effect: deny, max_per_hour: 0}", ".max_per_hour"),
        ("heal_limits", "{effect: allow}", ".effect"),
        ("residency", "{effect: deny}", ""),
        ("residency", "{effect: deny, regions: []}", ".regions"),
        ("residency", "{effect: deny, regions: [EU]}", ".regions[0]"),
        ("residency", "{effect: deny, regions: ['*-1']}", ".regions[0]"),
        ("kubernetes_privileged", "{effect: deny, capabilities: [net_admin]}", ".capabilities[0]"),
        ("kubernetes_privileged", "{effect: deny, escalation: false}", ".escalation"),
        ("kubernetes_host_path", "{effect: deny, allowed: [var/log]}", ".allowed[0]"),
        ("kubernetes_image_tag", "{effect: deny, tags: []}", ".tags"),
        ("kubernetes_limits", "{effect: deny, limit: [memory]}", ".limit"),
        ("kubernetes_delete", "{effect: deny, kinds: []}", ".kinds"),
        (
            "kubernetes_delete",
            "{effect: deny, require: {groups: {nobody: 1}, expires_in_seconds: 60}}",
            ".require.groups.nobody",
        ),
    ],
)
def test_a_parameter_that_means_nothing_is_refused_with_its_line(rule: str, entry: str, field: str) -> None:
    with pytest.raises(PolicyLoadError) as refused:
        read_parameters(f"{PLAIN}  {rule}:\n    - {entry}\n", "data.yaml")
    assert (refused.value.field, refused.value.line) == (f"rules.{rule}[0]{field}", 8), refused.value


def test_a_budget_may_say_which_groups_approve_what_is_above_it() -> None:
    budget = "{name: b, per: tenant, counts: changes, window_seconds: 60, limit: 1, effect: approve%s}"
    text = PLAIN.replace("rules:\n", f"budgets:\n  - {budget}\n")
    assert read_parameters(text % "", "d.yaml")["budgets"][0]["require"]["groups"] == {"r": 1}
    own = ", require: {groups: {r: 2}, expires_in_seconds: 60}"
    assert read_parameters(text % own, "d.yaml")["budgets"][0]["require"] == {
        "count": 2,
        "groups": {"r": 2},
        "expires_in": 60,
    }
    with pytest.raises(PolicyLoadError, match=r"budgets\[0\]\.require\.groups\.s"):
        read_parameters(text % own.replace("r: 2", "s: 2"), "d.yaml")
