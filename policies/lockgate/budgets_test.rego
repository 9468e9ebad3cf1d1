package lockgate.budgets_test

import data.lockgate
import data.lockgate.library_test as base

budget := {"name": "hourly", "targets": null, "window_seconds": 3600, "limit": 10, "effect": "deny", "require": {"count": 2, "groups": {"approvers": 2}, "expires_in": 60}}

asked(question, budgets, told) := d if {
	d := lockgate[question].decision with input as base.ask(question, {"plan": base.plan, "context": {"now": base.monday_noon, "freeze": false, "budgets": told}})
		with data.lockgate.parameters as object.union(base.parameters, {"budgets": budgets})
}

told(used, this) := {"hourly": {"window_seconds": 3600, "limit": 10, "used": used, "asked": this}}

changing := {"request", "plan", "apply", "heal"}

test_up_to_the_limit_passes_and_one_more_does_not if {
	every question in changing {
		asked(question, [budget], told(9, 1)).allow
		base.rules(asked(question, [budget], told(10, 1))) == {"budget"}
		base.rules(asked(question, [budget], told(0, 11))) == {"budget"}
	}
}

test_it_says_what_was_used_and_when_it_is_free if {
	free := {"hourly": object.union(told(10, 1).hourly, {"free_at": "2026-11-23T13:00:00Z"})}
	asked("request", [budget], free).violations == {{"rule": "budget", "details": {
		"name": "hourly", "limit": 10, "used": 10, "asked": 1,
		"waitable": true, "free_at": "2026-11-23T13:00:00Z",
	}}}
	never := {"hourly": object.union(told(0, 11).hourly, {"free_at": null})}
	asked("plan", [budget], never).violations == {{"rule": "budget", "details": {"name": "hourly", "limit": 10, "used": 0, "asked": 11}}}
}

test_what_is_not_told_is_not_kept if {
	every bad in [
		{}, {"other": told(0, 1).hourly},
		{"hourly": object.union(told(0, 1).hourly, {"window_seconds": 60})}, # of another policy
		{"hourly": object.remove(told(0, 1).hourly, ["used"])},
		{"hourly": object.union(told(0, 1).hourly, {"used": null})},
	] {
		base.rules(asked("request", [budget], bad)) == {"budget"}
	}
	d := lockgate.request.decision with input as base.ask("request", {}) with data.lockgate.parameters as object.union(base.parameters, {"budgets": [budget]})
	d.violations == {{"rule": "budget", "details": {"name": "hourly", "limit": 10, "told": false}}}
}

test_approve_asks_humans_instead if {
	held := object.union(budget, {"effect": "approve"})
	d := asked("plan", [held], told(10, 1))
	d.allow
	d.obligations.approvals == {"count": 2, "groups": {"approvers": 2}, "expires_in": 60}
	not asked("plan", [held], told(9, 1)).obligations.approvals
	asked("plan", [held], {}).obligations.approvals.count == 2
}

test_budgets_of_other_targets_and_of_reads_are_none if {
	asked("request", [object.union(budget, {"targets": base.in_production})], {}).allow
	read := {"name": "deploy", "driver": "d", "effect": "read", "risk": "low"}
	d := lockgate.request.decision with input as base.ask("request", {"action": read}) with data.lockgate.parameters as object.union(base.parameters, {"budgets": [budget]})
	d.allow
}

test_every_budget_must_be_kept if {
	two := [budget, object.union(budget, {"name": "daily", "limit": 3})]
	both := object.union(told(5, 1), {"daily": {"window_seconds": 3600, "limit": 3, "used": 3, "asked": 1}})
	{violation.details.name | some violation in asked("request", two, both).violations} == {"daily"}
}
