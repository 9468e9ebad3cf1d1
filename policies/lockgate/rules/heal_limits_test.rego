package lockgate.rules.heal_limits_test

import data.lockgate
import data.lockgate.asked_test as asked
import data.lockgate.library_test as base

entry := asked.deny({"actions": {"names": {"deploy": true}, "prefixes": ["converge_"]}, "max_changes": 2, "max_per_hour": 2})

past(at) := {
	"operation": at, "action": "deploy", "effect": "change", "target": "web", "environment": "staging",
	"state": "succeeded", "rules": [], "at": at,
}

quiet := {"since": "2026-11-22T12:00:00Z", "complete": true, "operations": []}

because(changes, history) := {why | some violation in d.violations; violation.rule == "heal_limits"; some why in violation.details.because} if {
	context := object.union({"now": base.monday_noon, "freeze": false}, history)
	d := lockgate.heal.decision with input as base.ask("heal", object.union({"plan": base.plan, "context": context}, changes))
		with data.lockgate.parameters as object.union(base.parameters, {"rules": {"heal": {"heal_limits": [entry]}}})
}

sized(counts) := {"plan": asked.with_parts(base.plan, {"summary": object.union({"create": 0, "update": 0, "delete": 0, "replace": 0}, counts)})}

test_a_small_heal_by_a_permitted_action_goes_on if {
	because({}, {"history": quiet}) == set()
	because(sized({"update": 2}), {"history": quiet}) == set()
	because({"action": {"name": "converge_web", "driver": "ansible", "effect": "change", "risk": "low"}}, {"history": quiet}) == set()
}

test_another_action_may_not_heal if {
	because({"action": {"name": "restart_web", "driver": "ansible", "effect": "change", "risk": "low"}}, {"history": quiet}) == {"the action may not heal"}
}

test_a_heal_never_destroys if {
	because(sized({"delete": 1}), {"history": quiet}) == {"a heal never destroys"}
	because(sized({"replace": 1}), {"history": quiet}) == {"a heal never destroys"}
	because({"action": {"name": "deploy", "driver": "ansible", "effect": "destroy", "risk": "low"}}, {"history": quiet}) == {"a heal never destroys"}
}

test_a_heal_of_unknown_size_is_none if {
	because(sized({"update": 3}), {"history": quiet}) == {"it would change too much"}
	because({"plan": null}, {"history": quiet}) == {"what it would change is not known"}
	because({"plan": object.union(base.plan, {"incomplete": true})}, {"history": quiet}) == {"what it would change is not known"}
}

test_a_target_that_is_healed_again_and_again_is_left_to_humans if {
	one := [past("2026-11-23T11:30:00Z")]
	two := [past("2026-11-23T11:30:00Z"), past("2026-11-23T11:00:00Z")]
	old := [past("2026-11-23T11:30:00Z"), past("2026-11-23T10:59:59Z")]
	because({}, {"history": object.union(quiet, {"operations": one})}) == set()
	because({}, {"history": object.union(quiet, {"operations": old})}) == set()
	because({}, {"history": object.union(quiet, {"operations": two})}) == {"it was healed too often within an hour"}
	refused := [object.union(operation, {"state": "denied"}) | some operation in two]
	because({}, {"history": object.union(quiet, {"operations": refused})}) == set()
}

test_a_past_that_is_not_told_is_not_quiet if {
	because({}, {}) == {"how often it was healed is not known"}
	short := object.union(quiet, {"since": "2026-11-23T11:30:00Z", "complete": false})
	because({}, {"history": short}) == {"how often it was healed is not known"}
}
