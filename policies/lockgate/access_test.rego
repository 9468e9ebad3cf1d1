package lockgate.access_test

import data.lockgate
import data.lockgate.library_test as base

# One role `r`, held by the agent, for every question; what narrows it is the test's.
narrowed(grant) := object.union(base.parameters, {
	"subjects": {"i": {"a1": {"agent": ["r"]}}},
	"grants": {question: {"r": object.union({"fields": null, "actions": null, "targets": null}, grant)} | some question in questions},
})

questions := {"list", "request", "plan", "apply", "heal"}

asked(question, changes, grant) := d if {
	d := lockgate[question].decision with input as base.ask(question, object.union({"plan": base.plan}, changes))
		with data.lockgate.parameters as narrowed(grant)
}

may(changes, grant) if not "role" in base.rules(asked("request", changes, grant))

action(changes) := {"action": object.union({"name": "deploy", "driver": "ansible", "effect": "change", "risk": "low"}, changes)}

target(changes) := {"target": object.union(base.staging, changes)}

selector(changes) := {"targets": object.union({"fields": null, "labels": null, "except": null}, changes)}

test_a_role_without_limits_permits_everything_it_is_asked if {
	every question in questions { asked(question, {}, {}).allow }
}

test_every_dimension_of_an_action_is_held if {
	every case in [
		[{"fields": {"effect": {"read": true}}}, {"effect": "read"}, {"effect": "change"}],
		[{"fields": {"driver": {"ansible": true}}}, {}, {"driver": "opentofu"}],
		[{"fields": {"risk": {"low": true, "medium": true}}}, {"risk": "medium"}, {"risk": "high"}],
		[{"actions": {"names": {"deploy": true}, "prefixes": []}}, {}, {"name": "deploy_all"}],
		[{"actions": {"names": {}, "prefixes": ["restart_"]}}, {"name": "restart_web"}, {"name": "restart"}],
	] {
		may(action(case[1]), case[0])
		not may(action(case[2]), case[0])
	}
}

test_all_dimensions_hold_at_once if {
	both := {"fields": {"effect": {"change": true}, "risk": {"low": true}}}
	may(action({}), both)
	not may(action({"risk": "high"}), both)
	not may(action({"effect": "destroy"}), both)
}

test_every_dimension_of_a_target_is_held if {
	every case in [
		[selector({"fields": {"name": {"web": true}}}), {}, {"name": "web2"}],
		[selector({"fields": {"environment": {"staging": true}}}), {}, {"environment": "production"}],
		[selector({"fields": {"region": {"eu": true}}}), {}, {"region": "us"}],
		[selector({"labels": {"team": {"web": true}}}), {"labels": {"team": "web"}}, {"labels": {"team": "db"}}],
	] {
		may(target(case[1]), case[0])
		not may(target(case[2]), case[0])
	}
}

test_a_label_that_is_absent_is_not_any_label if {
	every values in [{"web": true}, {"*": true}] {
		not may(target({"labels": {}}), selector({"labels": {"team": values}}))
		not may(target({"labels": {"teams": "web"}}), selector({"labels": {"team": values}}))
	}
	may(target({"labels": {"team": "whoever"}}), selector({"labels": {"team": {"*": true}}}))
}

test_every_label_that_is_named_must_fit if {
	two := selector({"labels": {"team": {"web": true}, "tier": {"front": true}}})
	may(target({"labels": {"team": "web", "tier": "front"}}), two)
	not may(target({"labels": {"team": "web", "tier": "back"}}), two)
	not may(target({"labels": {"team": "web"}}), two)
}

test_what_is_excepted_is_not_selected if {
	but_databases := selector({"except": [{"fields": null, "labels": {"tier": {"database": true}}}, {"fields": {"name": {"vault": true}}, "labels": null}]})
	may(target({"labels": {"tier": "front"}}), but_databases)
	may(target({"labels": {}}), but_databases)
	not may(target({"labels": {"tier": "database"}}), but_databases)
	not may(target({"name": "vault"}), but_databases)
}

test_an_exception_of_two_parts_excepts_what_has_both if {
	narrow := selector({"except": [{"fields": {"environment": {"staging": true}}, "labels": {"tier": {"database": true}}}]})
	may(target({}), narrow)
	not may(target({"labels": {"tier": "database"}}), narrow)
	may(target({"environment": "test", "labels": {"tier": "database"}}), narrow)
}

test_an_exception_without_limits_excepts_everything if {
	not may(target({}), selector({"except": [{"fields": null, "labels": null}]}))
}

test_a_question_without_a_target_needs_a_role_without_targets if {
	admin := object.union(base.carol, {"roles": ["root"], "authentication": {"method": "jwt", "audience": "people", "auth_time": 1795435000}})
	every case in [[null, true], [selector({"except": [{"fields": {"name": {"web": true}}, "labels": null}]}).targets, false]] {
		d := lockgate.admin.decision with input as base.ask("admin", {"subject": admin, "target": null, "action": null})
			with data.lockgate.parameters as object.union(base.parameters, {"grants": {"admin": {"admins": {
				"fields": null, "actions": null,
				"targets": case[0],
			}}}})
		d.allow == case[1]
	}
}

test_a_role_of_one_question_answers_no_other if {
	every granted in questions {
		only := object.union(base.parameters, {"subjects": {"i": {"a1": {"agent": ["r"]}}}, "grants": object.union(
			{question: {} | some question in questions},
			{granted: {"r": {"fields": null, "actions": null, "targets": null}}},
		)})
		every question in questions {
			d := lockgate[question].decision with input as base.ask(question, {"plan": base.plan}) with data.lockgate.parameters as only
			expected := question == granted
			d.allow == expected
		}
	}
}

test_the_same_role_elsewhere_and_unknown_roles_permit_nothing if {
	every who in [
		{"roles": ["r"]}, # a token's word is a role only where a binding says so
		{"subject": "*"}, {"issuer": "*"}, {"kind": "runner"},
	] {
		stranger := object.union(object.union(base.agent, {"subject": "a9"}), who)
		not may({"subject": stranger}, {})
	}
}

test_a_role_that_nothing_defines_permits_nothing if {
	d := lockgate.request.decision with input as base.ask("request", {})
		with data.lockgate.parameters as object.union(narrowed({}), {"subjects": {"i": {"a1": {"agent": ["gone"]}}}})
	base.rules(d) == {"role"}
}

test_two_roles_do_not_add_up_to_a_third if {
	split := object.union(base.parameters, {"subjects": {"i": {"a1": {"agent": ["reads-all", "wipes-test"]}}}, "grants": {"request": {
		"reads-all": {"fields": {"effect": {"read": true}}, "actions": null, "targets": null},
		"wipes-test": {"fields": {"effect": {"destroy": true}}, "actions": null, "targets": selector({"fields": {"environment": {"test": true}}}).targets},
	}}})
	every case in [["read", "staging", true], ["destroy", "test", true], ["destroy", "staging", false], ["change", "test", false]] {
		d := lockgate.request.decision with input as base.ask("request", object.union(action({"effect": case[0]}), target({"environment": case[1]})))
			with data.lockgate.parameters as split
		d.allow == case[2]
	}
}
