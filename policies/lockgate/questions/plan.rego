# METADATA
# title: The question `plan`
package lockgate.plan

import data.lockgate.access
import data.lockgate.answer
import data.lockgate.approvals
import data.lockgate.brought
import data.lockgate.budgets
import data.lockgate.limits
import data.lockgate.plan_integrity
import data.lockgate.region
import data.lockgate.rulebook
import data.lockgate.window

decision := {"allow": allow, "violations": violations, "obligations": answer.obligations, "readings": (brought.readings | rulebook.readings)}

default allow := false

allow if {
	access.permitted
	count(violations) == 0
}

violations := union({
	access.violations,
	region.violations,
	window.violations,
	limits.violations,
	budgets.violations,
	plan_integrity.violations,
	approvals.violations,
	brought.violations,
	rulebook.violations,
})
