# METADATA
# title: The answer
# description: Obligations of all rules, merged to the strictest, in the form of policy output version 1.
package lockgate.answer

import data.lockgate.approvals
import data.lockgate.limits

obligations := object.union(limited, held)

default held := {}

held := {"approvals": approvals.obligation}

# Ranks grow with strictness; Lockgate writes them beside the names when it loads the data.
limited[name] := strictest[1] if {
	some name in {"sandbox", "max_seconds", "credential_scope"}
	strictest := max({[demand.rank, demand.value] | some obligations in limits.obligations; demand := obligations[name]})
}
