"""Rules as a team has had them since before OPA 1.0, the entries that attach them, and plans to judge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lockgate.testing.policy_engine import example_plan

DATA = """version: 1
roles: {all: {questions: [list, request, plan, apply]}, voters: {questions: [approve]}}
bindings: [{subject: {issuer: "https://issuer.test", id: agent-1}, roles: [all]}]
regions: {default: ["*"]}
limits: [{incomplete: allow}]
approvals: {approvers: [voters], standard: {count: 1, groups: [voters], expires_in_seconds: 60}}
bring:
"""
SCORE = "  - {name: blast_radius, path: data.terraform.analysis.score, reads: score, limit: 30, effect: deny}\n"
AUTHZ = "  - {name: authorized, path: terraform/analysis/authz, reads: allowed, effect: approve}\n"
DENY = "  - {name: conftest, path: main.deny, reads: denials, effect: deny}\n"

# As teams have written it since before OPA 1.0: `import input as`, no `if`, no `contains`, `=` for `:=`, a partial object by key.
ANALYSIS_V0 = """package terraform.analysis

import input as tfplan

blast_radius = 30

weights = {
    "aws_autoscaling_group": {"delete": 100, "create": 10, "modify": 1},
    "aws_instance": {"delete": 10, "create": 1, "modify": 1},
}

default authz = false

authz {
    score < blast_radius
    not touches_iam
}

score = s {
    all := [x |
        crud := weights[kind]
        x := ((crud["delete"] * number_of("delete", kind)) + (crud["create"] * number_of("create", kind))) + (crud["modify"] * number_of("update", kind))
    ]
    s := sum(all)
}

touches_iam {
    count(resources["aws_iam"]) > 0
}

resources[kind] = found {
    kind := tfplan.resource_changes[_].type
    found := [r | r := tfplan.resource_changes[_]; r.type == kind]
}

number_of(action, kind) = n {
    n := count([r | r := tfplan.resource_changes[_]; r.type == kind; r.change.actions[_] == action])
}
"""
CONFTEST = """package main

import rego.v1

deny contains {"msg": msg, "resource": change.address} if {
	some change in input.resource_changes
	not change.change.after.tags.owner
	msg := sprintf("%s has no owner", [change.address])
}
"""


def changes(*each: tuple[str, str], tags: dict[str, str] | None = None) -> dict[str, Any]:
    """A plan with these (type, action) changes."""
    after = {"tags": tags or {}}
    found = [
        {"address": f"{kind}.r{number}", "type": kind, "change": {"actions": [action], "before": None, "after": after}}
        for number, (kind, action) in enumerate(each)
    ]
    return example_plan(resource_changes=found)


def team_folder(place: Path) -> Path:
    """A folder as a team has it: v0 and v1 beside each other, with tests and a plan that somebody saved."""
    folder = place / "opa policies"
    (folder / "terraform").mkdir(parents=True)
    (folder / "terraform" / "analysis.rego").write_text(ANALYSIS_V0)
    (folder / "terraform" / "analysis_test.rego").write_text(
        'package terraform.analysis\n\ntest_nothing_scores_nothing { score == 0 with input as {"resource_changes": []} }\n'
    )
    (folder / "main.rego").write_text(CONFTEST)
    (folder / "plan.json").write_text('{"not": "data"}')
    return folder
