package lockgate.brought_test

import data.lockgate.brought

entry := {
	"path": "data.team.rule", "input": "plan", "reads": "score", "limit": 10, "effect": "deny",
	"questions": {"plan": true, "apply": true}, "targets": null,
	"require": {"count": 1, "groups": {"approvers": 1}, "expires_in": 60},
}

question := {"question": "plan", "target": {"name": "web", "environment": "staging", "region": "eu", "labels": {}}, "plan": {}}

said(values) := {{"name": "r", "path": "data.team.rule", "input": "plan", "value": value} | some value in values}

rules(changes, values) := {violation.rule |
	asked := object.union(entry, changes)
	some violation in brought.violations with input as question
		with data.lockgate.parameters as {"bring": {"r": asked}}
		with data.lockgate.glue.values as said(values)
}

required(changes, values) := answer if {
	asked := object.union(entry, changes)
	answer := brought.required with input as question
		with data.lockgate.parameters as {"bring": {"r": asked}}
		with data.lockgate.glue.values as said(values)
}

reading(changes, values) := answer if {
	asked := object.union(entry, changes)
	some answer in brought.readings with input as question
		with data.lockgate.parameters as {"bring": {"r": asked}}
		with data.lockgate.glue.values as said(values)
}

test_nothing_brought_says_nothing if {
	brought.violations == set() with input as question with data.lockgate.parameters as {}
	brought.readings == set() with input as question with data.lockgate.parameters as {"bring": {}}
}

test_each_way_to_read_passes_what_is_clear_and_nothing_else if {
	cases := {
		"allowed": {"passes": {true}, "violates": {false}, "unclear": {null, 1, "true", [], {}}},
		"violated": {"passes": {false}, "violates": {true}, "unclear": {null, 0, "false", [], {}}},
		"score": {"passes": {10, 0, -1.5}, "violates": {11, 10.01}, "unclear": {null, "3", true, false, [], {}}},
		"denials": {
			"passes": {set(), [], {}}, "violates": {{"no"}, ["no"], {"a": "no"}, [null], [false], {"a": false}},
			"unclear": {null, "", "no", 0, false, true},
		},
	}
	every reads, values in cases {
		every value in values.passes {
			rules({"reads": reads}, {value}) == set()
		}
		every value in values.violates {
			rules({"reads": reads}, {value}) == {"brought.r"}
		}
		every value in values.unclear {
			rules({"reads": reads}, {value}) == {"brought.r.mistyped"}
		}
	}
}

test_undefined_denies_however_it_reads if {
	every reads in ["allowed", "violated", "score", "denials"] {
		rules({"reads": reads}, set()) == {"brought.r.undefined"}
		rules({"reads": reads, "effect": "approve"}, set()) == {"brought.r.undefined"}
	}
}

test_two_values_are_none if rules({}, {1, 2}) == {"brought.r.undefined"}

test_a_score_without_a_limit_denies if {
	asked := json.remove(entry, ["limit"])
	answer := brought.violations with input as question
		with data.lockgate.parameters as {"bring": {"r": asked}}
		with data.lockgate.glue.values as said({1})
	{violation.rule | some violation in answer} == {"brought.r"}
}

test_what_asks_for_approval_does_not_deny_and_says_what_it_requires if {
	rules({"effect": "approve"}, {11}) == set()
	required({"effect": "approve"}, {11}) == {entry.require}
	required({"effect": "approve"}, {10}) == set()
	required({"effect": "deny"}, {11}) == set()
}

test_what_asks_for_approval_and_names_none_denies if rules({"effect": "approve", "require": null}, {11}) == {"brought.r"}

test_an_unclear_value_denies_where_approval_was_asked_for if rules({"effect": "approve"}, {"11"}) == {"brought.r.mistyped"}

test_glue_of_another_path_or_input_does_not_count if {
	rules({"path": "data.team.other"}, {1}) == {"brought.r.undefined"}
	rules({"input": "document"}, {1}) == {"brought.r.undefined"}
}

test_other_questions_and_targets_are_not_asked if {
	rules({"questions": {"plan": false, "request": true}}, {11}) == set()
	rules({"targets": {"fields": {"environment": {"production": true}}, "labels": null, "except": null}}, {11}) == set()
}

test_a_read_has_no_plan_to_judge if {
	answer := brought.violations with input as object.union(question, {"plan": null})
		with data.lockgate.parameters as {"bring": {"r": entry}}
	answer == set()
	document := brought.violations with input as object.union(question, {"plan": null})
		with data.lockgate.parameters as {"bring": {"r": object.union(entry, {"input": "document"})}}
	count(document) == 1
}

test_what_people_are_shown if {
	reading({}, {10}).value == 10
	reading({}, {10}).verdict == "passed"
	reading({}, {11}).limit == 10
	reading({"reads": "allowed"}, {false}).value == false
	reading({}, {"secret"}).type == "string"
	not reading({}, {"secret"}).value
	denials := {"b", {"msg": "a", "more": 1}, ["x", 1]}
	reading({"reads": "denials"}, {denials}).value == ["a", "a denial without a message: array", "b"]
	reading({"reads": "denials"}, {{"k": "v"}}).value == ["k: v"]
}

test_what_people_are_shown_has_an_end if {
	many := reading({"reads": "denials"}, {{sprintf("%04d", [n]) | some n in numbers.range(1, 300)}})
	many.count == 300
	count(many.value) == 20
	count(reading({"reads": "denials"}, {[concat("", ["x" | some _ in numbers.range(1, 600)])]}).value[0]) == 500
}
