# METADATA
# title: The question `approve`
package lockgate.approve

import data.lockgate.access
import data.lockgate.human
import data.lockgate.voting

decision := {"allow": allow, "violations": violations, "obligations": {}}

default allow := false

allow if {
	access.permitted
	count(violations) == 0
}

violations := union({
	access.violations,
	human.violations,
	voting.violations,
})
