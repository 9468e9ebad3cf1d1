# METADATA
# title: The question `cancel`
package lockgate.cancel

import data.lockgate.access

decision := {"allow": allow, "violations": violations, "obligations": {}}

default allow := false

allow if {
	access.permitted
	count(violations) == 0
}

violations := access.violations
