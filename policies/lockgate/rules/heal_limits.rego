# METADATA
# title: Not healed by itself
# description: What drifted may not be put back without a human here.
# custom:
#   rule: heal_limits
#   severity: high
#   why: A heal that nobody asked for must stay small, must never destroy, and must stop when it fights somebody.
#   fix: Ask a person to look at the drift, and to ask for the change as an operation of their own.
#   cannot_see: Who changed the target last outside Lockgate; heals by another principal.
#   questions: [heal]
#   parameters:
#     actions:
#       type: array
#       minItems: 1
#       maxItems: 1000
#       items: {type: string, minLength: 1, maxLength: 128, pattern: '^[^*]*\*?$'}
#       form: patterns
#       description: The actions that may heal; a name, or a beginning followed by *. Left out, any.
#       default: ["*"]
#     max_changes:
#       type: integer
#       minimum: 0
#       maximum: 1000000
#       description: How many resources one heal may change; what the tool could not say is too much.
#       default: 5
#     max_per_hour:
#       type: integer
#       minimum: 1
#       maximum: 60
#       description: How many heals of one target an hour; with more, something else changes it as often.
#       default: 2
#   example:
#     - targets: {environments: [staging]}
#       effect: approve
#       actions: [converge_*]
#       max_changes: 3
package lockgate.rules.heal_limits

import data.lockgate.limits
import data.lockgate.past
import data.lockgate.plan_integrity
import data.lockgate.rulebook

facts[number] := {"because": sort(why)} if {
	some number, why in reasons
}

reasons[number] contains "the action may not heal" if {
	some number, entry in rulebook.selected.heal_limits
	not may_heal(entry.actions, input.action.name)
}

reasons[number] contains "a heal never destroys" if {
	some number, _ in rulebook.selected.heal_limits
	destroys
}

reasons[number] contains "what it would change is not known" if {
	some number, _ in rulebook.selected.heal_limits
	not is_known
}

reasons[number] contains "it would change too much" if {
	some number, entry in rulebook.selected.heal_limits
	limits.changes > entry.max_changes
}

reasons[number] contains "it was healed too often within an hour" if {
	some number, entry in rulebook.selected.heal_limits
	count(heals) >= entry.max_per_hour
}

reasons[number] contains "how often it was healed is not known" if {
	some number, _ in rulebook.selected.heal_limits
	not past.reaches(3600)
}

destroys if input.action.effect == "destroy"

destroys if limits.destroys > 0

is_known if {
	is_number(limits.changes)
	not plan_integrity.incomplete
}

# What this caller did to the target and was not refused; also what is under way.
heals contains operation.operation if {
	some operation in input.context.history.operations
	operation.target == input.target.name
	operation.effect != "read"
	not operation.state in {"denied", "planned", "cancelled", "expired"}
	past.is_within(operation.at, 3600)
}

may_heal(actions, name) if actions.names[name]

may_heal(actions, name) if {
	some prefix in actions.prefixes
	startswith(name, prefix)
}
