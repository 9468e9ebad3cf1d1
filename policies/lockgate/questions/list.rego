# METADATA
# title: The question `list`
package lockgate.list

import data.lockgate.access
import data.lockgate.region

decision := {"allow": allow, "violations": violations, "obligations": {}}

default allow := false

allow if {
	access.permitted
	count(violations) == 0
}

violations := access.violations | region.violations
