package lockgate.rulebook_test

import data.lockgate
import data.lockgate.asked_test as asked
import data.lockgate.rulebook

databases := {"types": {"names": {"db": true}, "prefixes": []}}

two := [asked.removed("db.a"), asked.removed("db.b")]

under(entries) := {"rules": {"plan": {"stateful_delete": entries}}}

test_a_rule_that_is_not_listed_says_nothing if {
	violations := rulebook.violations with input as asked.question(two) with data.lockgate.parameters as {"rules": {}}
	violations == set()
}

test_no_rules_at_all_say_nothing if {
	violations := rulebook.violations with input as asked.question(two) with data.lockgate.parameters as {}
	violations == set()
}

test_deny_is_a_violation_that_names_the_resources if {
	violations := rulebook.violations with input as asked.question(two) with data.lockgate.parameters as under([asked.deny(databases)])
	violations == {{"rule": "stateful_delete", "details": {"resources": ["db.a", "db.b"], "resources_count": 2}}}
}

test_approve_is_no_violation_and_asks_for_what_the_entry_requires if {
	entries := [asked.approve(object.union(databases, {"require": {"count": 2, "groups": {"security": 2}, "expires_in": 60}}))]
	violations := rulebook.violations with input as asked.question(two) with data.lockgate.parameters as under(entries)
	required := rulebook.requirements with input as asked.question(two) with data.lockgate.parameters as under(entries)
	violations == set()
	required == {{"count": 2, "groups": {"security": 2}, "expires_in": 60}}
}

test_what_an_entry_asks_for_reaches_the_obligation_of_the_decision if {
	parameters := {"approvals": {"rules": [], "standard": asked.standard, "approvers": []}, "rules": {"plan": {"stateful_delete": [asked.approve(databases)]}}}
	decision := lockgate.plan.decision with input as asked.question(two) with data.lockgate.parameters as parameters
	decision.obligations.approvals == {"count": 1, "groups": {"approvers": 1}, "expires_in": 600}
}

test_an_entry_for_another_environment_says_nothing if {
	elsewhere := object.union(databases, {"targets": asked.in_staging})
	violations := rulebook.violations with input as asked.question(two) with data.lockgate.parameters as under([asked.deny(elsewhere)])
	violations == set()
}

test_an_entry_speaks_for_itself_alone if {
	elsewhere := asked.deny(object.union(databases, {"targets": asked.in_staging}))
	violations := rulebook.violations with input as asked.question(two)
		with data.lockgate.parameters as under([elsewhere, asked.approve(databases), asked.deny({"types": {"names": {}, "prefixes": []}})])
	violations == set()
}

test_a_question_that_the_rule_is_not_asked_costs_nothing_and_says_nothing if {
	asking := object.union(asked.question(two), {"question": "request"})
	found := rulebook.selected with input as asking with data.lockgate.parameters as under([asked.deny(databases)])
	found == {}
}

# Exceptions

excepting(exception) := [asked.deny(object.union(databases, {"exceptions": [object.union(
	{"targets": null, "subjects": null, "resources": null, "until": "2026-11-23T12:00:01"},
	exception,
)]}))]

mine := {"issuer": "https://id.test", "subject": "agent-1", "kind": "agent"}

at(now) := object.union(asked.question(two), {"context": {"now": now, "freeze": false}, "subject": mine})

resources_at(now, exception) := {address |
	some violation in rulebook.violations with input as at(now) with data.lockgate.parameters as under(excepting(exception))
	some address in violation.details.resources
}

test_an_exception_takes_its_resources_out_until_its_time_and_not_after if {
	only_a := {"resources": {"names": {"db.a": true}, "prefixes": []}}
	every now, expected in {
		"2026-11-23T12:00:00Z": {"db.b"},
		"2026-11-23T12:00:00.999999999Z": {"db.b"},
		"2026-11-23T12:00:01Z": {"db.a", "db.b"},
		"2026-11-23T12:00:01.5Z": {"db.a", "db.b"},
		"2027-01-01T00:00:00Z": {"db.a", "db.b"},
	} {
		resources_at(now, only_a) == expected
	}
}

test_an_exception_for_beginnings if {
	resources_at("2026-11-23T12:00:00Z", {"resources": {"names": {}, "prefixes": ["db."]}}) == set()
}

test_an_exception_without_resources_takes_all_out if {
	resources_at("2026-11-23T12:00:00Z", {}) == set()
}

test_an_exception_for_other_targets_takes_nothing_out if {
	staging := asked.in_staging
	resources_at("2026-11-23T12:00:00Z", {"targets": staging}) == {"db.a", "db.b"}
}

test_an_exception_for_callers_is_for_nobody_else if {
	ours := {"subjects": [{"issuer": {"https://id.test": true}, "subject": {"agent-1": true}, "kind": {"agent": true}}]}
	every change, expected in {
		{}: set(),
		{"subject": "agent-2"}: {"db.a", "db.b"},
		{"issuer": "https://other.test"}: {"db.a", "db.b"},
		{"kind": "human"}: {"db.a", "db.b"},
	} {
		asking := object.union(at("2026-11-23T12:00:00Z"), {"subject": object.union(mine, change)})
		violations := rulebook.violations with input as asking with data.lockgate.parameters as under(excepting(ours))
		{address | some violation in violations; some address in violation.details.resources} == expected
	}
}

test_details_show_at_most_twenty_addresses_and_say_how_many_there_are if {
	many := [asked.removed(sprintf("db.a%03d", [number])) | some number in numbers.range(1, 500)]
	violations := rulebook.violations with input as asked.question(many) with data.lockgate.parameters as under([asked.deny(databases)])
	some violation in violations
	count(violation.details.resources) == 20
	violation.details.resources[0] == "db.a001"
	violation.details.resources_count == 500
}

test_whoever_approves_is_told_which_rule_asked_and_for_what if {
	entries := [asked.approve(databases), asked.approve(databases)]
	said := rulebook.readings with input as asked.question(two) with data.lockgate.parameters as under(entries)
	said == {{
		"name": "stateful_delete",
		"path": "data.lockgate.rules.stateful_delete",
		"reads": "denials",
		"effect": "approve",
		"verdict": "violated",
		"count": 2,
		"value": ["db.a", "db.b"],
	}}
}

test_what_is_denied_or_passes_is_no_reading if {
	said := rulebook.readings with input as asked.question(two) with data.lockgate.parameters as under([asked.deny(databases)])
	said == set()
	nothing := rulebook.readings with input as asked.question([]) with data.lockgate.parameters as under([asked.approve(databases)])
	nothing == set()
}

test_facts_and_what_cannot_be_told_are_said_in_words if {
	rulebook.lines({"weight": 120, "limit": 100, "environment": "dev"}) == {"weight: 120", "limit: 100", "environment: dev"}
	rulebook.lines({"resources": ["a"], "resources_count": 1, "unknown": ["b"], "unknown_count": 1}) == {"a", "b: cannot be told yet"}
}
