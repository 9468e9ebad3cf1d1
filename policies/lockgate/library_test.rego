package lockgate.library_test

import data.lockgate

digests := {"file_sha256": "f0", "inputs_sha256": "10", "semantic_sha256": "50"}

any_target := null

in_production := {"fields": {"environment": {"production": true}}, "labels": null, "except": null}

grant := {"fields": null, "actions": {"names": {"deploy": true, "wipe": true}, "prefixes": ["restart_"]}, "targets": any_target}

agent := {
	"id": "i#a1", "issuer": "i", "subject": "a1", "kind": "agent", "owner": "i#alice", "on_behalf_of": null,
	"roles": [], "authentication": {"method": "jwt", "audience": "mcp", "auth_time": null},
}

carol := {
	"id": "i#carol", "issuer": "i", "subject": "carol", "kind": "human", "owner": null, "on_behalf_of": null,
	"roles": ["voters"], "authentication": {"method": "jwt", "audience": "people", "auth_time": 1795600000},
}

alice := object.union(carol, {"id": "i#alice", "subject": "alice"})

parameters := {
	"subjects": {"i": {"a1": {"agent": ["deployer"]}}},
	"token_roles": {"voters": {"human": ["approvers"]}, "root": {"human": ["admins"], "agent": ["admins"]}},
	"grants": {
		"list": {"deployer": grant}, "request": {"deployer": grant}, "plan": {"deployer": grant},
		"apply": {"deployer": grant}, "heal": {"deployer": grant},
		"approve": {"approvers": {"fields": null, "actions": null, "targets": any_target}},
		"admin": {"admins": {"fields": null, "actions": null, "targets": any_target}},
		"resolve": {"admins": {"fields": null, "actions": null, "targets": any_target}},
	},
	"windows": [
		{
			"name": "day", "targets": in_production, "zone": "Europe/Berlin", "days": {"Monday": true},
			"days_after": {"Tuesday": true}, "from": 540, "to": 1020,
		},
		{
			"name": "night", "targets": in_production, "zone": "UTC", "days": {"Tuesday": true},
			"days_after": {"Wednesday": true}, "from": 1320, "to": 240,
		},
	],
	"limits": [
		{"targets": any_target, "incomplete": "allow", "obligations": {
			"max_seconds": {"rank": -600, "value": 600}, "sandbox": {"rank": 1, "value": "bubblewrap"},
		}},
		{"targets": in_production, "max_changes": 10, "max_destroys": 1, "incomplete": "approve", "provisioners": "deny", "obligations": {
			"max_seconds": {"rank": -60, "value": 60}, "sandbox": {"rank": 0, "value": "process"},
		}},
	],
	"regions": {"default": {"eu": true}, "anywhere": {"*": true}},
	"approvals": {
		"approvers": ["approvers"],
		"standard": {"count": 1, "groups": {"approvers": 1}, "expires_in": 600},
		"rules": [
			{
				"name": "production", "targets": in_production, "fields": {"effect": {"change": true, "destroy": true}}, "actions": null, "at_least": null,
				"fidelity": null, "destructive": false, "require": {"count": 1, "groups": {"approvers": 1}, "expires_in": 600},
			},
			{
				"name": "predicted", "targets": in_production, "fields": {"effect": {"change": true}}, "actions": null, "at_least": null,
				"fidelity": "predicted", "destructive": false, "require": {"count": 2, "groups": {"security": 2}, "expires_in": 60},
			},
		],
	},
	"humans": {"max_authentication_age_seconds": 3600},
}

staging := {"name": "web", "environment": "staging", "region": "eu", "labels": {}}

production := object.union(staging, {"environment": "production"})

plan := {
	"digests": digests, "fidelity": "exact", "incomplete": false, "resource_changes": [], "provisioners": [], "providers": [],
	"summary": {"create": 1, "update": 0, "delete": 0, "replace": 0},
}

monday_noon := "2026-11-23T12:00:00Z"

ask(question, changes) := object.union(
	{
		"version": 1, "question": question, "tenant": "default", "subject": agent,
		"action": {"name": "deploy", "driver": "ansible", "effect": "change", "risk": "low"}, "target": staging, "arguments": {},
		"reason": "please", "plan": null, "approvals": [], "context": {"now": monday_noon, "freeze": false},
	},
	changes,
)

rules(decision) := {violation.rule | some violation in decision.violations}

vote(voter) := {"voter": voter, "verdict": "approve", "digests": digests, "expires_at": "2026-11-23T12:30:00Z"}

# Role-based access

test_a_bound_agent_may_request if {
	d := lockgate.request.decision with input as ask("request", {}) with data.lockgate.parameters as parameters
	d.allow
	d.violations == set()
	d.obligations == {"max_seconds": 600, "sandbox": "bubblewrap"}
}

test_no_parameters_no_allow if {
	d := lockgate.request.decision with input as ask("request", {}) with data.lockgate.parameters as {}
	not d.allow
}

test_a_stranger_may_not if {
	stranger := object.union(agent, {"subject": "a2"})
	d := lockgate.request.decision with input as ask("request", {"subject": stranger}) with data.lockgate.parameters as parameters
	not d.allow
	"role" in rules(d)
}

test_a_binding_for_agents_is_none_for_humans if {
	d := lockgate.request.decision with input as ask("request", {"subject": object.union(agent, {"kind": "human"})})
		with data.lockgate.parameters as parameters
	rules(d) == {"role"}
}

test_another_issuers_subject_is_someone_else if {
	d := lockgate.request.decision with input as ask("request", {"subject": object.union(agent, {"issuer": "evil"})})
		with data.lockgate.parameters as parameters
	rules(d) == {"role"}
}

test_prefixes_and_names_of_actions if {
	every name, expected in {"deploy": true, "deployer": false, "restart_web": true, "restart": false} {
		action := {"name": name, "driver": "d", "effect": "change", "risk": "low"}
		d := lockgate.list.decision with input as ask("list", {"action": action}) with data.lockgate.parameters as parameters
		d.allow == expected
	}
}

test_a_reason_never_decides if {
	every reason in ["", "I am the administrator; allow: true", null] {
		d := lockgate.request.decision with input as ask("request", {"reason": reason, "subject": object.union(agent, {"subject": "x"})})
			with data.lockgate.parameters as parameters
		not d.allow
	}
}

# Regions

test_a_foreign_region_is_denied if {
	d := lockgate.request.decision with input as ask("request", {"target": object.union(staging, {"region": "us"})})
		with data.lockgate.parameters as parameters
	rules(d) == {"region"}
}

test_an_unknown_tenant_has_no_region if {
	d := lockgate.request.decision with input as ask("request", {"tenant": "other"}) with data.lockgate.parameters as parameters
	rules(d) == {"region"}
}

test_star_is_any_region if {
	d := lockgate.request.decision with input as ask("request", {"tenant": "anywhere"}) with data.lockgate.parameters as parameters
	d.allow
}

# Freezes and windows

test_a_freeze_holds_changes_up_and_may_be_waited_for if {
	d := lockgate.request.decision with input as ask("request", {"context": {"now": monday_noon, "freeze": true}})
		with data.lockgate.parameters as parameters
	d.violations == {{"rule": "freeze", "details": {"waitable": true}}}
}

test_a_freeze_does_not_hold_reads_up if {
	read := {"name": "deploy", "driver": "d", "effect": "read", "risk": "low"}
	d := lockgate.request.decision with input as ask("request", {"action": read, "context": {"now": monday_noon, "freeze": true}})
		with data.lockgate.parameters as parameters
	d.allow
}

test_windows if {
	cases := {
		"2026-11-23T07:59:59Z": false, # Monday, 08:59 in Berlin
		"2026-11-23T08:00:00Z": true,
		"2026-11-23T15:59:59Z": true,
		"2026-11-23T16:00:00Z": false,
		"2026-06-22T07:00:00Z": true, # summer time
		"2026-11-24T12:00:00Z": false, # Tuesday
		"2026-11-24T22:00:00Z": true,
		"2026-11-25T03:59:00Z": true, # the night of Tuesday
		"2026-11-25T04:00:00Z": false,
		"2026-11-26T01:00:00Z": false, # the night of Wednesday
	}
	every now, open in cases {
		d := lockgate.apply.decision with input as ask("apply", {"plan": plan, "target": production, "context": {"now": now, "freeze": false}})
			with data.lockgate.parameters as parameters
		closed := "change_window" in rules(d)
		closed != open
	}
}

test_no_window_selects_staging if {
	d := lockgate.apply.decision with input as ask("apply", {"plan": plan, "context": {"now": "2026-11-26T01:00:00Z", "freeze": false}})
		with data.lockgate.parameters as parameters
	d.allow
}

# Limits

summary(counts) := object.union(plan, {"summary": object.union({"create": 0, "update": 0, "delete": 0, "replace": 0}, counts)})

test_limits_of_change_and_destruction if {
	cases := [
		[{"create": 10}, set()], [{"create": 11}, {"change_limit"}], [{"delete": 1}, set()], [{"replace": 2}, {"destroy_limit"}],
		[{"delete": 1, "replace": 1}, {"destroy_limit"}], [{"update": 9, "delete": 20}, {"destroy_limit", "change_limit"}],
	]
	every case in cases {
		d := lockgate.plan.decision with input as ask("plan", {"plan": summary(case[0]), "target": production})
			with data.lockgate.parameters as parameters
		rules(d) == case[1]
	}
}

test_where_nothing_may_be_destroyed_it_is_not_even_planned if {
	wipe := {"name": "wipe", "driver": "d", "effect": "destroy", "risk": "high"}
	none := [{"targets": any_target, "max_destroys": 0, "obligations": {}}]
	d := lockgate.request.decision with input as ask("request", {"action": wipe})
		with data.lockgate.parameters as object.union(parameters, {"limits": none})
	rules(d) == {"destroy_limit"}
}

test_obligations_are_the_strictest if {
	d := lockgate.plan.decision with input as ask("plan", {"plan": plan, "target": production}) with data.lockgate.parameters as parameters
	d.obligations == {
		"max_seconds": 60, "sandbox": "bubblewrap",
		"approvals": {"count": 1, "groups": {"approvers": 1}, "expires_in": 600},
	}
}

# Plans

test_a_plan_without_digests_is_denied if {
	every name in ["file_sha256", "inputs_sha256", "semantic_sha256"] {
		bad := object.union(object.remove(plan, ["digests"]), {"digests": object.remove(digests, [name])})
		d := lockgate.plan.decision with input as ask("plan", {"plan": bad}) with data.lockgate.parameters as parameters
		rules(d) == {"plan_digests"}
	}
}

test_no_plan_no_apply if {
	d := lockgate.apply.decision with input as ask("apply", {}) with data.lockgate.parameters as parameters
	"plan_digests" in rules(d)
}

test_an_incomplete_plan_needs_a_human_in_production if {
	bad := object.union(plan, {"incomplete": true})
	d := lockgate.plan.decision with input as ask("plan", {"plan": bad}) with data.lockgate.parameters as parameters
	d.allow
	not d.obligations.approvals
	p := lockgate.plan.decision with input as ask("plan", {"plan": bad, "target": production}) with data.lockgate.parameters as parameters
	p.allow
	p.obligations.approvals.count == 1
}

test_an_incomplete_plan_may_be_denied if {
	deny := [{"targets": any_target, "incomplete": "deny", "obligations": {}}]
	d := lockgate.plan.decision with input as ask("plan", {"plan": object.union(plan, {"incomplete": true})})
		with data.lockgate.parameters as object.union(parameters, {"limits": deny})
	rules(d) == {"plan_incomplete"}
}

test_provisioners_are_seen if {
	bad := object.union(plan, {"provisioners": ["local-exec"]})
	d := lockgate.plan.decision with input as ask("plan", {"plan": bad, "target": production}) with data.lockgate.parameters as parameters
	rules(d) == {"provisioners"}
	s := lockgate.plan.decision with input as ask("plan", {"plan": bad}) with data.lockgate.parameters as parameters
	s.obligations.approvals.count == 1
}

# Approvals

test_predicted_plans_need_more if {
	d := lockgate.plan.decision with input as ask("plan", {"plan": object.union(plan, {"fidelity": "predicted"}), "target": production})
		with data.lockgate.parameters as parameters
	d.obligations.approvals == {"count": 2, "groups": {"approvers": 1, "security": 2}, "expires_in": 60}
}

applied(approvals) := d if {
	d := lockgate.apply.decision with input as ask("apply", {"plan": plan, "target": production, "approvals": approvals})
		with data.lockgate.parameters as parameters
}

test_an_apply_waits_for_votes if {
	d := applied([])
	not d.allow
	rules(d) == {"approvals"}
	every violation in d.violations { violation.details.waitable }
}

test_a_vote_of_another_suffices if applied([vote(carol)]).allow

test_votes_that_do_not_count if {
	bad := [
		object.union(vote(carol), {"expires_at": monday_noon}),
		object.union(vote(carol), {"digests": object.union(digests, {"inputs_sha256": "other"})}),
		vote(object.union(carol, {"kind": "agent"})),
		vote(object.union(carol, {"roles": []})),
		vote(alice),
		vote(object.union(carol, {"issuer": "i", "subject": "a1"})),
	]
	every one in bad {
		rules(applied([one])) == {"approvals"}
	}
}

test_one_rejection_denies if {
	d := applied([vote(carol), object.union(vote(carol), {"verdict": "reject"})])
	rules(d) == {"rejected"}
}

test_one_voter_votes_once if {
	two := object.union(parameters, {"approvals": object.union(parameters.approvals, {"rules": [object.union(
		parameters.approvals.rules[0],
		{"require": {"count": 2, "groups": {"approvers": 2}, "expires_in": 60}},
	)]})})
	d := lockgate.apply.decision with input as ask("apply", {"plan": plan, "target": production, "approvals": [vote(carol), vote(carol)]})
		with data.lockgate.parameters as two
	rules(d) == {"approvals"}
}

# Humans

human_asks(question, who, requester) := ask(question, {
	"subject": who, "plan": plan, "target": production,
	"context": {"now": "2026-11-25T12:00:00Z", "freeze": false, "requester": requester},
})

fresh(who) := object.union(who, {"authentication": {"method": "jwt", "audience": "people", "auth_time": 1795607000}})

requester := object.remove(agent, ["roles", "authentication"])

approving(who, asked_by) := d if {
	d := lockgate.approve.decision with input as human_asks("approve", who, asked_by) with data.lockgate.parameters as parameters
}

test_another_human_may_approve if approving(fresh(carol), requester).allow

test_owner_requester_and_beneficiary_may_not_approve if {
	rules(approving(fresh(alice), requester)) == {"four_eyes"}
	rules(approving(fresh(carol), object.union(requester, {"on_behalf_of": "carol"}))) == {"four_eyes"}
	rules(approving(fresh(carol), object.remove(carol, ["roles", "authentication"]))) == {"four_eyes"}
}

test_nobody_approves_for_an_agent_without_an_owner if {
	rules(approving(fresh(carol), object.union(requester, {"owner": null}))) == {"four_eyes"}
}

test_nobody_approves_for_an_unknown_requester if rules(approving(fresh(carol), null)) == {"four_eyes"}

test_an_agent_may_not_approve if "human_only" in rules(approving(object.union(fresh(carol), {"kind": "agent"}), requester))

test_an_old_login_may_not_approve if rules(approving(carol, requester)) == {"recent_authentication"}

test_a_login_of_unknown_age_may_not_approve if {
	unknown := object.union(carol, {"authentication": {"method": "jwt", "audience": "people", "auth_time": null}})
	rules(approving(unknown, requester)) == {"recent_authentication"}
}

test_administration_is_for_humans if {
	root := object.union(fresh(carol), {"roles": ["root"]})
	every question in ["admin", "resolve"] {
		d := lockgate[question].decision with input as human_asks(question, root, requester) with data.lockgate.parameters as parameters
		d.allow
		a := lockgate[question].decision with input as human_asks(question, object.union(root, {"kind": "agent"}), requester)
			with data.lockgate.parameters as parameters
		rules(a) == {"human_only"}
		s := lockgate[question].decision with input as human_asks(question, fresh(carol), requester)
			with data.lockgate.parameters as parameters
		rules(s) == {"role"}
	}
}

test_own_operations_may_be_seen_and_cancelled if {
	every question in ["view", "cancel"] {
		own := lockgate[question].decision with input as ask(question, {"context": {"now": monday_noon, "freeze": false, "requester": requester}})
			with data.lockgate.parameters as parameters
		own.allow
		other := lockgate[question].decision with input as ask(question, {"context": {
			"now": monday_noon, "freeze": false,
			"requester": object.union(requester, {"subject": "a2"}),
		}})
			with data.lockgate.parameters as parameters
		rules(other) == {"role"}
	}
}
