# What the tests of rules ask: small plans, entries as Lockgate derives them, and the answer of one rule under the frame.
package lockgate.asked_test

import data.lockgate.rulebook

in_staging := {"fields": {"environment": {"staging": true}}, "labels": null, "except": null}

standard := {"count": 1, "groups": {"approvers": 1}, "expires_in": 600}

# An entry as Lockgate derives it from policy data, with the parameters of its rule.
entry(effect, own) := with_parts({"targets": null, "effect": effect, "unknown": effect, "require": standard, "exceptions": []}, own)

# Parts in place of those of the same name; object.union would mix what is below them.
with_parts(whole, parts) := object.union(object.remove(whole, object.keys(parts)), parts)

deny(own) := entry("deny", own)

approve(own) := entry("approve", own)

question(changes) := question_of({"resource_changes": changes})

# The question `plan` with these parts of the plan.
question_of(plan) := {
	"question": "plan", "tenant": "default", "target": {"name": "web", "environment": "production", "region": "eu", "labels": {}},
	"action": {"name": "deploy", "driver": "opentofu", "effect": "change", "risk": "low"},
	"context": {"now": "2026-11-23T12:00:00Z", "freeze": false},
	"plan": object.union({"resource_changes": [], "provisioners": [], "providers": []}, plan),
}

# A change of one resource: its address, what happens to it, and what of its `change` else is said.
change(address, actions, body) := {
	"address": address, "mode": "managed", "type": type_of(address), "name": "x", "provider_name": "registry.terraform.io/hashicorp/aws",
	"change": object.union({"actions": actions, "before": null, "after": {}, "after_unknown": {}}, body),
}

created(address, after) := change(address, ["create"], {"after": after})

updated(address, after) := change(address, ["update"], {"before": {}, "after": after})

removed(address) := change(address, ["delete"], {"before": {}, "after": null})

# Created with attributes that only apply will tell.
later(address, after, unknown) := change(address, ["create"], {"after": after, "after_unknown": unknown})

# The type in an address: its last part but one, without any index.
type_of(address) := parts[count(parts) - 2] if {
	bare := [end | some piece in split(address, "["); ends := split(piece, "]"); end := ends[count(ends) - 1]]
	parts := split(concat("", bare), ".")
}

# Addresses that `rule` denies under one entry.
denied(rule, own, changes) := faults if {
	found := rulebook.denied with input as question(changes) with data.lockgate.parameters as {"rules": {"plan": {rule: [deny(own)]}}}
	faults := addresses(object.get(found, [rule, 0], {}))
}

# Addresses of which `rule` cannot tell.
unknown(rule, own, changes) := {address | some address in object.get(found, [rule, 0, "unknown"], [])} if {
	found := rulebook.denied with input as question(changes) with data.lockgate.parameters as {"rules": {"plan": {rule: [deny(own)]}}}
}

addresses(details) := {address | some name in ["resources", "unknown"]; some address in object.get(details, name, [])}
