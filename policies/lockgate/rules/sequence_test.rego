package lockgate.rules.sequence_test

import data.lockgate
import data.lockgate.asked_test as asked
import data.lockgate.library_test as base

entry(own) := asked.with_parts(
	{
		"targets": null, "effect": "deny", "unknown": "deny", "require": asked.standard, "exceptions": [],
		"after": {"outcomes": ["denied"], "effects": ["destroy"]}, "forbid": {"effects": ["destroy"]}, "within_seconds": 600,
	},
	own,
)

past(changes) := object.union(
	{
		"operation": "op_1", "action": "wipe", "effect": "destroy", "target": "web", "environment": "staging",
		"state": "denied", "rules": ["role"], "at": "2026-11-23T11:55:00Z",
	},
	changes,
)

reaching(operations) := {"since": "2026-11-22T12:00:00Z", "complete": true, "operations": operations}

wipe := {"name": "wipe", "driver": "ansible", "effect": "destroy", "risk": "high"}

answer(own, action, history) := d if {
	context := object.union({"now": base.monday_noon, "freeze": false}, history)
	d := lockgate.request.decision with input as base.ask("request", {"action": action, "context": context})
		with data.lockgate.parameters as object.union(base.parameters, {"limits": [], "rules": {"request": {"sequence": [entry(own)]}}})
}

fires(own, action, history) if "sequence" in base.rules(answer(own, action, history))

after(changes) := {"history": reaching([past(changes)])}

test_a_destroy_soon_after_a_denied_one_is_forbidden if {
	d := answer({}, wipe, after({}))
	d.violations == {{"rule": "sequence", "details": {"after": ["op_1"], "within_seconds": 600}}}
}

test_the_edge_of_the_time if {
	fires({}, wipe, after({"at": "2026-11-23T11:50:00Z"}))
	not fires({}, wipe, after({"at": "2026-11-23T11:49:59Z"}))
}

test_what_else_was_done_before_or_is_asked_now_is_not_meant if {
	not fires({}, wipe, after({"state": "succeeded"}))
	not fires({}, wipe, after({"effect": "change"}))
	not fires({}, wipe, after({"target": "db"}))
	not fires({}, {"name": "deploy", "driver": "ansible", "effect": "change", "risk": "low"}, after({}))
	not fires({}, wipe, {"history": reaching([])})
}

test_any_target_and_actions_by_name_and_beginning if {
	any := {"after": {"outcomes": ["denied", "failed"], "target": "any", "actions": ["wi*", "drop"]}, "forbid": {"actions": ["wipe"]}}
	fires(any, wipe, after({"target": "db"}))
	fires(any, wipe, after({"action": "drop", "state": "failed"}))
	not fires(any, wipe, after({"action": "dropped"}))
	not fires(any, object.union(wipe, {"name": "wipe2"}), after({}))
}

test_history_that_does_not_reach_back_is_no_clean_past if {
	every history in [
		{},
		{"history": {"since": "2026-11-23T11:55:00Z", "complete": false, "operations": []}},
		{"history": {"since": "2026-11-23T11:55:00Z", "complete": true, "operations": []}},
		{"history": {"since": "2026-11-22T12:00:00Z", "complete": true}},
	] {
		d := answer({}, wipe, history)
		d.violations == {{"rule": "sequence", "details": {"history": "does not reach back far enough", "within_seconds": 600}}}
	}
	not fires({}, wipe, {"history": {"since": "2026-11-23T11:50:00Z", "complete": false, "operations": []}})
}

test_approve_asks_humans if {
	d := answer({"effect": "approve"}, wipe, after({}))
	d.allow
	d.obligations.approvals.count == 1
	answer({"effect": "approve"}, wipe, {}).obligations.approvals.count == 1
}

test_asking_again_while_it_lasts_does_not_make_it_last if {
	not fires({}, wipe, after({"rules": ["sequence"]}))
	fires({}, wipe, after({"rules": ["role", "sequence"]}))
}
