"""What policy data may say of rules: read strictly, derived once, refused with line and field."""

import json
from pathlib import Path

import pytest
import yaml

from lockgate.policy.compile import RuleMetadataInvalid, rule_texts
from lockgate.policy.parameters import read_parameters
from lockgate.policy.port import PolicyLoadError
from lockgate.policy.rules import library_rules

RULES = library_rules()
GOOD = """version: 1
roles: {dev: {}}
bindings: []
regions: {default: [eu]}
approvals: {approvers: [dev], standard: {count: 1, groups: [dev], expires_in_seconds: 60}}
rules:
  stateful_delete:
    - targets: {environments: [prod]}
      effect: deny
      unknown: approve
      types: [my_db, "your_*"]
      exceptions:
        - resources: ["module.scratch.*", my_db.x]
          until: 2026-12-31T23:59:59.9+01:00
          reason: moving to the new cluster
    - effect: approve
      require: {count: 2, groups: [dev], expires_in_seconds: 30}
"""


def test_entries_stand_under_the_questions_of_their_rule_in_the_form_rego_reads() -> None:
    derived = read_parameters(GOOD, "data.yaml")["rules"]
    assert derived["plan"] == derived["apply"]
    assert set(derived) == {"plan", "apply"}
    first, second = derived["plan"]["stateful_delete"]
    assert first == {
        "targets": {"fields": {"environment": {"prod": True}}, "labels": None, "except": None},
        "effect": "deny",
        "unknown": "approve",
        "require": {"count": 1, "groups": {"dev": 1}, "expires_in": 60},
        "types": {"names": {"my_db": True}, "prefixes": ["your_"]},
        "exceptions": [
            {
                "targets": None,
                "subjects": None,
                "resources": {"names": {"my_db.x": True}, "prefixes": ["module.scratch."]},
                "until": "2026-12-31T22:59:59",
            }
        ],
    }
    assert (second["unknown"], second["require"]["count"]) == ("approve", 2)


def test_an_exception_may_be_for_named_callers_alone() -> None:
    named = '- subjects: [{issuer: "https://id.test", id: bot, kind: agent}, {issuer: "https://id.test", id: "4711"}]\n          resources: ['
    derived = read_parameters(GOOD.replace("- resources: [", named), "data.yaml")["rules"]
    assert derived["plan"]["stateful_delete"][0]["exceptions"][0]["subjects"] == [
        {"issuer": {"https://id.test": True}, "subject": {"bot": True}, "kind": {"agent": True}},
        {"issuer": {"https://id.test": True}, "subject": {"4711": True}},
    ]


def test_what_is_not_said_has_the_rules_own_default() -> None:
    derived = read_parameters(GOOD, "data.yaml")["rules"]["plan"]["stateful_delete"][1]
    assert "aws_s3_bucket" in derived["types"]["names"]
    assert "aws_fsx_" in derived["types"]["prefixes"]


def test_data_without_rules_has_none_on() -> None:
    assert read_parameters(GOOD[: GOOD.index("rules:")], "data.yaml")["rules"] == {}


@pytest.mark.parametrize(
    ("old", "new", "line", "field"),
    [
        ("stateful_delete:", "stateful_deletes:", 7, "rules.stateful_deletes"),
        ("stateful_delete:", "role:", 7, "rules.role"),
        ("effect: deny", "effect: warn", 9, "rules.stateful_delete[0].effect"),
        ("      effect: deny\n", "", 8, "rules.stateful_delete[0]"),
        ("unknown: approve", "unknown: allow", 10, "rules.stateful_delete[0].unknown"),
        ("types: [my_db", "types: [7", 11, "rules.stateful_delete[0].types[0]"),
        ("types: [my_db", "typos: [my_db", 11, "rules.stateful_delete[0].typos"),
        ("2026-12-31T23:59:59.9+01:00", "tomorrow at some time", 14, "rules.stateful_delete[0].exceptions[0].until"),
        ("2026-12-31T23:59:59.9+01:00", "2026-13-31T23:59:59Z", 14, "rules.stateful_delete[0].exceptions[0].until"),
        (
            "- resources: [",
            "- subjects: []\n          resources: [",
            13,
            "rules.stateful_delete[0].exceptions[0].subjects",
        ),
        (
            "- resources: [",
            "- subjects: [{id: bot}]\n          resources: [",
            13,
            "rules.stateful_delete[0].exceptions[0].subjects[0]",
        ),
        ("          until: 2026-12-31T23:59:59.9+01:00\n", "", 13, "rules.stateful_delete[0].exceptions[0]"),
        ("          reason: moving to the new cluster\n", "", 13, "rules.stateful_delete[0].exceptions[0]"),
        (
            "groups: [dev], expires_in_seconds: 30",
            "groups: [ops], expires_in_seconds: 30",
            17,
            "rules.stateful_delete[1].require.groups[0]",
        ),
    ],
)
def test_what_no_rule_knows_is_refused_with_line_and_field(old: str, new: str, line: int, field: str) -> None:
    with pytest.raises(PolicyLoadError) as refused:
        read_parameters(GOOD.replace(old, new, 1), "data.yaml")
    assert (refused.value.line, refused.value.field) == (line, field)


def test_a_misspelt_rule_is_told_the_nearest_name() -> None:
    with pytest.raises(PolicyLoadError, match="did you mean 'stateful_delete'"):
        read_parameters(GOOD.replace("stateful_delete:", "statefull_delete:"), "data.yaml")


def test_every_rule_says_why_how_grave_it_is_and_what_to_do() -> None:
    for name, rule in RULES.items():
        assert {"title", "message", "fix", "why", "severity"} <= set(rule), name


def test_every_rule_to_configure_has_an_example_that_is_correct() -> None:
    listed = {name: rule["example"] for name, rule in RULES.items() if "parameters" in rule}
    text = json.dumps({**_without_rules(), "rules": listed})
    assert read_parameters(text, "data.json")["rules"]


def test_the_example_of_policy_data_shows_every_rule() -> None:
    shown = yaml.safe_load((Path(__file__).parents[3] / "policies" / "data.example.yaml").read_text("utf-8"))["rules"]
    assert set(shown) == {name for name, rule in RULES.items() if "parameters" in rule}


def _without_rules() -> dict[str, object]:
    return {
        "version": 1,
        "roles": {"dev": {}, "security": {}},
        "bindings": [],
        "regions": {"default": ["eu"]},
        "approvals": {"approvers": ["dev"], "standard": {"count": 1, "groups": ["dev"], "expires_in_seconds": 60}},
    }


METADATA = """# METADATA
# title: T
# description: D
# custom:
#   rule: mine
#   severity: low
#   why: W
#   fix: F
#   parameters: {}
package lockgate.rules.mine

facts[0] := {} if input.never
"""


@pytest.mark.opa
def test_a_rule_of_ones_own_brings_its_metadata(opa: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.rego").write_text(METADATA)
    assert rule_texts(opa, tmp_path)["mine"] == {
        "title": "T",
        "message": "D",
        "fix": "F",
        "why": "W",
        "severity": "low",
        "parameters": {},
    }


@pytest.mark.opa
@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("#   why: W\n", "", "custom.why"),
        ("#   fix: F\n", "", "custom.fix"),
        ("# description: D\n", "", "description"),
        ("severity: low", "severity: meh", "custom.severity"),
        ("package lockgate.rules.mine", "package lockgate.rules.yours", "lockgate.rules.mine"),
    ],
)
def test_a_rule_whose_metadata_lacks_something_does_not_compile(
    opa: Path, tmp_path: Path, old: str, new: str, problem: str
) -> None:
    (tmp_path / "mine.rego").write_text(METADATA.replace(old, new))
    with pytest.raises(RuleMetadataInvalid, match=problem):
        rule_texts(opa, tmp_path)
