# METADATA
# title: The question `heal`
package lockgate.heal

import data.lockgate.access
import data.lockgate.answer
import data.lockgate.brought
import data.lockgate.budgets
import data.lockgate.limits
import data.lockgate.region
import data.lockgate.rulebook
import data.lockgate.window

decision := {"allow": allow, "violations": violations, "obligations": answer.obligations, "readings": (brought.readings | rulebook.readings), "exceptions": window.exceptions}

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
	brought.violations,
	rulebook.violations,
})
