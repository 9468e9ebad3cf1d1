# METADATA
# title: Approvals
# description: Which operations need human votes, and whether the votes given are enough now.
package lockgate.approvals

import data.lockgate.access
import data.lockgate.brought
import data.lockgate.budgets
import data.lockgate.limits
import data.lockgate.parameters
import data.lockgate.plan_integrity
import data.lockgate.rulebook
import data.lockgate.selectors

required contains rule.require if {
	some rule in parameters.approvals.rules
	applies(rule)
}

required contains parameters.approvals.standard if plan_integrity.needs_approval

required contains requirement if some requirement in brought.required

required contains requirement if some requirement in budgets.required

required contains requirement if some requirement in rulebook.requirements

applies(rule) if {
	selectors.selects(rule.targets, input.target)
	selectors.fits(rule.fields, input.action)
	selectors.names_action(rule.actions, input.action)
	has_fidelity(rule)
	is_destructive(rule)
	is_large(rule)
}

has_fidelity(rule) if rule.fidelity == null

has_fidelity(rule) if rule.fidelity == input.plan.fidelity

is_destructive(rule) if rule.destructive == false

is_destructive(_) if limits.destructive

is_large(rule) if rule.at_least == null

is_large(rule) if {
	some name, least in rule.at_least
	limits.sizes[name] >= least
}

# What the tool could not say may be as large as it likes.
is_large(rule) if {
	rule.at_least != null
	plan_integrity.incomplete
}

# The strictest of all that is required; undefined if nothing is.
obligation := {
	"count": max([r.count | some r in required]),
	"groups": {group: votes |
		some r in required
		some group, _ in r.groups
		votes := max([other.groups[group] | some other in required])
	},
	"expires_in": min([r.expires_in | some r in required]),
} if {
	count(required) > 0
}

# METADATA
# title: Approval missing
# description: The votes that count under the policy of now do not suffice.
# custom:
#   rule: approvals
#   severity: high
#   why: What policy leaves to humans waits for them.
#   fix: Ask the named groups to approve the current plan; the operation continues by itself.
violations contains {"rule": "approvals", "details": details} if {
	input.question == "apply"
	obligation
	not sufficient
	details := {"waitable": true, "count": obligation.count, "groups": obligation.groups, "have": count(voters)}
}

# METADATA
# title: Rejected
# description: A human rejected exactly this plan.
# custom:
#   rule: rejected
#   severity: high
#   why: A no of a human is not outvoted by asking again.
#   fix: Talk to whoever rejected it, then ask again with another change.
violations contains {"rule": "rejected", "details": {}} if {
	input.question == "apply"
	some vote in input.approvals
	vote.verdict != "approve"
	vote.digests == input.plan.digests
}

sufficient if {
	count(voters) >= obligation.count
	every group, votes in obligation.groups {
		count([voter | some voter, roles in voters; group in roles]) >= votes
	}
}

# Voters whose vote counts now, with their roles of now: never the votes' own claims.
voters[voter] := roles if {
	some vote in input.approvals
	vote.verdict == "approve"
	vote.digests == input.plan.digests
	time.parse_rfc3339_ns(vote.expires_at) > time.parse_rfc3339_ns(input.context.now)
	vote.voter.kind == "human"
	not same_person(vote.voter, input.subject)
	roles := access.roles_of(vote.voter)
	some approver in parameters.approvals.approvers
	approver in roles
	voter := json.marshal([vote.voter.issuer, vote.voter.subject])
}

same_person(voter, requester) if {
	voter.issuer == requester.issuer
	voter.subject == requester.subject
}

same_person(voter, requester) if requester.owner in {voter.id, voter.subject}

same_person(voter, requester) if requester.on_behalf_of in {voter.id, voter.subject}
