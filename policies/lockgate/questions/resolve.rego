# METADATA
# title: The question `resolve`
package lockgate.resolve

import data.lockgate.access
import data.lockgate.human

decision := {"allow": allow, "violations": violations, "obligations": {}}

default allow := false

allow if {
	access.permitted
	count(violations) == 0
}

violations := access.violations | human.violations
