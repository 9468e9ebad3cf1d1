# METADATA
# title: Limits
# description: How much one operation may change or destroy, for how long, and in what kind of sandbox.
package lockgate.limits

import data.lockgate.parameters
import data.lockgate.selectors

selected contains limit if {
	some limit in parameters.limits
	selectors.selects(limit.targets, input.target)
}

# What the selected limits say about `subject`; silence means "a human must agree".
verdicts(subject) := said if {
	said := {limit[subject] | some limit in selected}
	count(said) > 0
} else := {"approve"}

destroys := input.plan.summary.delete + input.plan.summary.replace

changes := (destroys + input.plan.summary.create) + input.plan.summary.update

# How large a plan is, in the three measures that rules may set a number to.
sizes := {
	"changes": changes,
	"destroys": destroys,
	"weight": ((10 * destroys) + (5 * input.plan.summary.update)) + (input.plan.summary.create + input.plan.summary.replace),
}

destructive if input.action.effect == "destroy"

destructive if destroys > 0

# METADATA
# title: Destroys too much
# description: The change would delete or replace more than this target allows.
# custom:
#   rule: destroy_limit
#   severity: high
#   why: One mistake must not be able to take down everything that one operation can reach.
#   fix: Split the change, or ask an administrator to raise the limit.
violations contains {"rule": "destroy_limit", "details": {"destroys": destroys, "limit": limit.max_destroys}} if {
	some limit in selected
	destroys > limit.max_destroys
}

violations contains {"rule": "destroy_limit", "details": {"effect": "destroy", "limit": 0}} if {
	input.action.effect == "destroy"
	some limit in selected
	limit.max_destroys == 0
}

# METADATA
# title: Changes too much
# description: The change would touch more than this target allows at once.
# custom:
#   rule: change_limit
#   severity: medium
#   why: A change that nobody can read is a change that nobody has approved.
#   fix: Split the change, or ask an administrator to raise the limit.
violations contains {"rule": "change_limit", "details": {"changes": changes, "limit": limit.max_changes}} if {
	some limit in selected
	changes > limit.max_changes
}

obligations contains limit.obligations if some limit in selected
