# METADATA
# title: The question `view`
package lockgate.view

import data.lockgate.access

decision := {"allow": allow, "violations": violations, "obligations": {}}

default allow := false

allow if {
	access.permitted
	count(violations) == 0
}

violations := access.violations
