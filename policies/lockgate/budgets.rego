# METADATA
# title: Budgets
# description: How much may be changed within a time, by many operations together. Lockgate adds up and reserves; here is judged.
package lockgate.budgets

import data.lockgate.parameters
import data.lockgate.selectors

# The budgets that this question must be told of.
due contains budget if {
	input.action.effect != "read"
	some budget in parameters.budgets
	selectors.selects(budget.targets, input.target)
}

# What is wrong, by budget; a budget of which nothing, or something else, is told is not one that is kept.
wrong[budget.name] := told if {
	some budget in due
	told := input.context.budgets[budget.name]
	told.window_seconds == budget.window_seconds
	told.used + told.asked > budget.limit
}

wrong[budget.name] := {} if {
	some budget in due
	not is_told(budget)
}

is_told(budget) if {
	told := input.context.budgets[budget.name]
	told.window_seconds == budget.window_seconds
	told.used + told.asked >= 0
}

# METADATA
# title: Budget used up
# description: With this, more would be changed within a time than policy allows.
# custom:
#   rule: budget
#   severity: high
#   why: Many small changes are a large one; a budget bounds what a caller can do before anyone looks.
#   fix: Wait until the budget is free again, make the change smaller, or ask an administrator to raise the limit.
violations contains {"rule": "budget", "details": object.union({"name": budget.name, "limit": budget.limit}, facts(wrong[budget.name]))} if {
	some budget in due
	budget.effect == "deny"
	wrong[budget.name]
}

# It may be waited for where Lockgate can tell when enough is free again.
facts(told) := {"told": false} if {
	told == {}
} else := {"used": told.used, "asked": told.asked, "free_at": told.free_at, "waitable": true} if {
	is_string(told.free_at)
} else := {"used": told.used, "asked": told.asked}

required contains budget.require if {
	some budget in due
	budget.effect == "approve"
	wrong[budget.name]
}
