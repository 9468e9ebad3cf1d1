# METADATA
# title: Blast radius
# description: What the change touches weighs more than one operation may weigh here.
# custom:
#   rule: blast_radius
#   severity: high
#   why: A count treats a deleted database and a new tag alike. Weights say what a mistake would cost, so that a limit can be small where it matters and roomy elsewhere.
#   fix: Split the change into smaller ones, or leave out what deletes or replaces.
#   cannot_see: How much depends on a resource; `weights_by_type` is where to say it.
#   parameters:
#     limit:
#       type: integer
#       minimum: 0
#       maximum: 1000000000
#       required: true
#       description: the most that one operation may weigh; an entry for each environment gives each its own
#     weights:
#       type: object
#       additionalProperties: false
#       required: [create, update, delete]
#       properties:
#         create: {type: integer, minimum: 0, maximum: 1000000}
#         update: {type: integer, minimum: 0, maximum: 1000000}
#         delete: {type: integer, minimum: 0, maximum: 1000000}
#       default: {create: 1, update: 5, delete: 10}
#       description: what one create, update and delete weigh. A replace is a delete and a create, what the state forgets a delete, what is moved or imported an update
#     weights_by_type:
#       type: object
#       maxProperties: 1000
#       additionalProperties:
#         type: object
#         additionalProperties: false
#         required: [create, update, delete]
#         properties:
#           create: {type: integer, minimum: 0, maximum: 1000000}
#           update: {type: integer, minimum: 0, maximum: 1000000}
#           delete: {type: integer, minimum: 0, maximum: 1000000}
#       default: {}
#       description: the same for single resource types, in place of `weights`
#   example:
#     - targets: {environments: [production]}
#       effect: deny
#       limit: 100
#       weights_by_type:
#         aws_route53_record: {create: 20, update: 20, delete: 40}
#     - targets: {environments: [staging]}
#       effect: approve
#       limit: 300
package lockgate.rules.blast_radius

import data.lockgate.changes
import data.lockgate.rulebook

facts[number] := {"weight": weight, "limit": entry.limit} if {
	some number, entry in rulebook.selected.blast_radius
	weight := weighed(entry)
	weight > entry.limit
}

summary := input.plan.summary

# All by the summary, and for types with weights of their own the difference.
weighed(entry) := weighs(entry.weights, summary) + sum([difference |
	some [type, _, actions], positions in changes.alike
	own := entry.weights_by_type[type]
	counted := counts(actions)
	difference := times(actions, positions) * (weighs(own, counted) - weighs(entry.weights, counted))
])

weighs(weights, counted) := (weights.delete * (counted.delete + counted.replace)) + ((weights.create * (counted.create + counted.replace)) + (weights.update * counted.update))

# One change with these actions as the summary counts it.
counts(actions) := {"create": 0, "update": 0, "delete": 0, "replace": 1} if {
	"delete" in actions
	"create" in actions
} else := {"create": 0, "update": 0, "delete": 1, "replace": 0} if {
	some action in actions
	action in {"delete", "forget"}
} else := {"create": 1, "update": 0, "delete": 0, "replace": 0} if {
	"create" in actions
} else := {"create": 0, "update": 1, "delete": 0, "replace": 0}

# Which of them it counts: all that do something, and of the others those that are imported or moved.
times(actions, positions) := count(positions) if {
	some action in actions
	action in {"create", "update", "delete", "forget"}
} else := count([position | some position in positions; state_alone(changes.at(position))])

state_alone(change) if is_object(change.change.importing)

state_alone(change) if {
	is_string(change.previous_address)
	change.previous_address != ""
}
