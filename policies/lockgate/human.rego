# METADATA
# title: Humans only
# description: What only a human, recently authenticated, may do (TRUST §6).
package lockgate.human

import data.lockgate.parameters

# METADATA
# title: Humans only
# description: Only a human may do this.
# custom:
#   rule: human_only
#   severity: critical
#   why: An agent that could approve, resolve or administer would be its own guard.
#   fix: Ask a human with the right role to do it.
violations contains {"rule": "human_only", "details": {"kind": input.subject.kind}} if input.subject.kind != "human"

# METADATA
# title: Log in again
# description: Too much time has passed since this human authenticated.
# custom:
#   rule: recent_authentication
#   severity: high
#   why: A session left open or stolen must not be able to approve for days.
#   fix: Log in again and repeat the call.
violations contains {"rule": "recent_authentication", "details": {"max_seconds": most}} if {
	most := parameters.humans.max_authentication_age_seconds
	not recent(most)
}

recent(most) if {
	now := time.parse_rfc3339_ns(input.context.now) / 1000000000
	age := now - input.subject.authentication.auth_time
	age <= most
	age >= -60
}
