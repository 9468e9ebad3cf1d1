# METADATA
# title: Plan integrity
# description: Only a plan whose every byte is pinned, and whose unknowns are accepted, may go on.
package lockgate.plan_integrity

import data.lockgate.limits

# METADATA
# title: Plan without digests
# description: The plan does not pin what would be applied.
# custom:
#   rule: plan_digests
#   severity: critical
#   why: What is not pinned byte by byte can be changed between approval and apply.
#   fix: Plan again; if it happens again, report it with the operation id.
violations contains {"rule": "plan_digests", "details": {}} if not pinned

pinned if {
	every name in ["file_sha256", "inputs_sha256", "semantic_sha256"] {
		is_string(input.plan.digests[name])
	}
}

# METADATA
# title: Plan incomplete
# description: The tool could not say everything that would change, and this target does not accept that.
# custom:
#   rule: plan_incomplete
#   severity: high
#   why: Nobody can agree to what the tool could not say.
#   fix: Make the change smaller or split it, so that the tool can plan it completely.
violations contains {"rule": "plan_incomplete", "details": {"environment": input.target.environment}} if {
	incomplete
	"deny" in limits.verdicts("incomplete")
}

# METADATA
# title: Provisioners not allowed
# description: The plan runs provisioners, code outside the tool's own resources, and this target does not accept that.
# custom:
#   rule: provisioners
#   severity: high
#   why: A provisioner is any command at all; the plan shows that it runs, and not what it does.
#   fix: Remove the provisioners from the configuration.
violations contains {"rule": "provisioners", "details": {"count": count(input.plan.provisioners)}} if {
	provisioned
	"deny" in limits.verdicts("provisioners")
}

incomplete if input.plan.incomplete != false

provisioned if count(input.plan.provisioners) > 0

needs_approval if {
	incomplete
	"approve" in limits.verdicts("incomplete")
}

needs_approval if {
	provisioned
	"approve" in limits.verdicts("provisioners")
}
