# METADATA
# title: Voting
# description: Who may approve or reject (four eyes; the gateway holds it in code as well).
package lockgate.voting

import data.lockgate.access
import data.lockgate.approvals
import data.lockgate.parameters

# METADATA
# title: Not an approver
# description: This human is in none of the approver groups.
# custom:
#   rule: approver_group
#   severity: high
#   why: A vote counts for what the voter is trusted with.
#   fix: Ask a member of an approver group to vote.
violations contains {"rule": "approver_group", "details": {"groups": parameters.approvals.approvers}} if not approver

approver if {
	some group in parameters.approvals.approvers
	group in access.roles
}

# METADATA
# title: Four eyes
# description: No one approves what they asked for, what was asked on their behalf, or what an agent of theirs asked.
# custom:
#   rule: four_eyes
#   severity: critical
#   why: An approval by whoever wanted the change is no approval.
#   fix: Ask another approver to vote.
violations contains {"rule": "four_eyes", "details": {}} if not other_person

other_person if {
	is_string(input.context.requester.issuer)
	is_string(input.context.requester.subject)
	not approvals.same_person(input.subject, input.context.requester)
	accountable
}

# An agent that nobody answers for cannot obtain approvals.
accountable if input.context.requester.kind == "human"

accountable if is_string(input.context.requester.owner)

accountable if is_string(input.context.requester.on_behalf_of)
