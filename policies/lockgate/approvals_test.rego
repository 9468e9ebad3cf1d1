package lockgate.approvals_test

import data.lockgate
import data.lockgate.library_test as base

plain := {
	"name": "r", "targets": null, "fields": null, "actions": null, "fidelity": null, "destructive": false, "at_least": null,
	"require": {"count": 1, "groups": {"approvers": 1}, "expires_in": 60},
}

rule(changes) := object.union(object.remove(plain, object.keys(changes)), changes)

approving(rules) := object.union(base.parameters, {
	"token_roles": {role: {"human": [role]} | some role in {"approvers", "security", "owners"}},
	"approvals": {
		"approvers": ["approvers", "security"],
		"standard": {"count": 1, "groups": {"approvers": 1}, "expires_in": 600},
		"rules": rules,
	},
	"limits": [],
})

summary(counts) := object.union(base.plan, {"summary": object.union({"create": 0, "update": 0, "delete": 0, "replace": 0}, counts)})

held(changes, rules) := object.get(d.obligations, "approvals", null) if {
	d := lockgate.plan.decision with input as base.ask("plan", object.union({"plan": base.plan}, changes))
		with data.lockgate.parameters as approving(rules)
}

needs(changes, rules) if held(changes, rules) != null

test_risk_and_driver_of_the_action if {
	high := [rule({"fields": {"risk": {"high": true}}})]
	needs({"action": {"name": "deploy", "driver": "ansible", "effect": "change", "risk": "high"}}, high)
	not needs({}, high)
	not needs({}, [rule({"fields": {"driver": {"opentofu": true}}})])
	needs({}, [rule({"fields": {"driver": {"ansible": true}}})])
}

test_each_measure_of_size_has_its_edge if {
	every case in [
		[{"changes": 3}, {"create": 2}, {"create": 3}],
		[{"changes": 3}, {"update": 1, "delete": 1}, {"update": 1, "delete": 1, "replace": 1}],
		[{"destroys": 2}, {"delete": 1, "create": 9}, {"delete": 1, "replace": 1}],
		[{"weight": 20}, {"delete": 1, "update": 1, "create": 4}, {"delete": 1, "update": 2}],
		[{"weight": 22}, {"replace": 1, "delete": 1}, {"replace": 2}],
		[{"destroys": 1, "weight": 100}, {"update": 19}, {"delete": 1}],
	] {
		not needs({"plan": summary(case[1])}, [rule({"at_least": case[0]})])
		needs({"plan": summary(case[2])}, [rule({"at_least": case[0]})])
	}
}

test_what_the_tool_could_not_say_may_be_large if {
	unsure := object.union(summary({"create": 1}), {"incomplete": true})
	needs({"plan": unsure}, [rule({"at_least": {"changes": 1000}})])
}

test_before_there_is_a_plan_its_size_asks_for_nothing if {
	d := lockgate.request.decision with input as base.ask("request", {})
		with data.lockgate.parameters as approving([rule({"at_least": {"changes": 1}})])
	d.allow
	not d.obligations.approvals
}

test_several_rules_merge_group_by_group if {
	two := [
		rule({"require": {"count": 2, "groups": {"security": 2}, "expires_in": 600}}),
		rule({"require": {"count": 1, "groups": {"owners": 1, "security": 1}, "expires_in": 60}}),
	]
	held({}, two) == {"count": 2, "groups": {"owners": 1, "security": 2}, "expires_in": 60}
}

human(name, roles) := object.union(base.carol, {"id": concat("#", ["i", name]), "subject": name, "roles": roles})

applied(voters) if {
	d := lockgate.apply.decision with input as base.ask("apply", {"plan": base.plan, "approvals": [base.vote(voter) | some voter in voters]})
		with data.lockgate.parameters as approving([rule({"require": {"count": 3, "groups": {"security": 2, "owners": 1}, "expires_in": 60}})])
	d.allow
}

test_every_group_needs_its_own_number if {
	s1 := human("s1", ["security"])
	s2 := human("s2", ["security", "owners"])
	o1 := human("o1", ["approvers", "owners"])
	p1 := human("p1", ["approvers"])
	applied([s1, s2, o1])
	applied([s1, s2, p1]) # s2 counts for both groups, and once in all
	not applied([s1, s2])
	not applied([s1, o1, p1])
	not applied([s1, human("s3", ["security"]), p1])
	not applied([s1, human("s3", ["security"]), human("o2", ["owners"])]) # an owner who is no approver has no vote
}
