# METADATA
# title: Too soon after another
# description: What this caller did shortly before forbids this.
# custom:
#   rule: sequence
#   severity: high
#   why: A caller that was just refused, or whose change just failed, and now does something worse is in a loop or under attack; a pause lets people look.
#   fix: Wait until enough time has passed since the earlier operation, or ask a person to look at it.
#   cannot_see: What other callers did, and what is older than the history that Lockgate tells. Where history does not reach back far enough, the rule fires.
#   questions: [request, plan, apply, heal]
#   parameters:
#     after:
#       type: object
#       allOf: [{required: [outcomes]}]
#       additionalProperties: false
#       description: "The earlier operation: how it ended, and its effects, actions, and whether of the same target or any (the default is same)."
#       properties:
#         outcomes: {type: array, minItems: 1, uniqueItems: true, items: {enum: [denied, failed, indeterminate, cancelled, expired, succeeded]}}
#         effects: {type: array, minItems: 1, uniqueItems: true, items: {enum: [read, change, destroy]}}
#         actions: {type: array, minItems: 1, maxItems: 100, items: {type: string, minLength: 1, maxLength: 128, pattern: '^[^*]*\*?$'}}
#         target: {enum: [same, any]}
#       required: true
#     forbid:
#       type: object
#       minProperties: 1
#       additionalProperties: false
#       description: What is forbidden then, by effects and actions; all that is named must fit.
#       properties:
#         effects: {type: array, minItems: 1, uniqueItems: true, items: {enum: [read, change, destroy]}}
#         actions: {type: array, minItems: 1, maxItems: 100, items: {type: string, minLength: 1, maxLength: 128, pattern: '^[^*]*\*?$'}}
#       required: true
#     within_seconds:
#       type: integer
#       minimum: 1
#       maximum: 2592000
#       description: For how long after the earlier operation came to its end.
#       required: true
#   example:
#     - effect: deny
#       after: {outcomes: [denied], effects: [destroy]}
#       forbid: {effects: [destroy]}
#       within_seconds: 600
package lockgate.rules.sequence

import data.lockgate.past
import data.lockgate.rulebook

forbidden[number] := entry if {
	some number, entry in rulebook.selected.sequence
	is_one_of(entry.forbid, input.action.effect, input.action.name)
}

facts[number] := {"after": earlier[number], "within_seconds": entry.within_seconds} if {
	some number, entry in forbidden
	earlier[number] != []
}

facts[number] := {"history": "does not reach back far enough", "within_seconds": entry.within_seconds} if {
	some number, entry in forbidden
	earlier[number] == []
	not past.reaches(entry.within_seconds)
}

# The operations that came before it, as many as may be shown.
earlier[number] := array.slice(found, 0, 5) if {
	some number, entry in forbidden
	found := [past_operation.operation |
		some past_operation in input.context.history.operations
		matches(entry.after, past_operation)
		past.is_within(past_operation.at, entry.within_seconds)
	]
}

matches(after, operation) if {
	operation.state in after.outcomes
	is_one_of(after, operation.effect, operation.action)
	is_of_target(after, operation)
	not denied_by_this_alone(operation)
}

# Otherwise who asks again while the pause lasts would make it last for ever.
denied_by_this_alone(operation) if operation.rules == ["sequence"]

is_of_target(after, _) if after.target == "any"

is_of_target(after, operation) if {
	object.get(after, "target", "same") == "same"
	operation.target == input.target.name
}

is_one_of(kinds, effect, action) if {
	effect in object.get(kinds, "effects", ["read", "change", "destroy"])
	some pattern in object.get(kinds, "actions", ["*"])
	names(pattern, action)
}

names(pattern, action) if pattern == action

names(pattern, action) if {
	endswith(pattern, "*")
	startswith(action, trim_suffix(pattern, "*"))
}
