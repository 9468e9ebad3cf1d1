# METADATA
# title: Role-based access
# description: Who holds which roles, and whether one of them permits what is asked.
package lockgate.access

import data.lockgate.parameters
import data.lockgate.selectors

# The roles of any principal: bound by issuer and subject, to a whole issuer, or through a role in the token.
roles_of(principal) := ({role | some role in parameters.subjects[principal.issuer][principal.subject][principal.kind]} | {role | some role in parameters.subjects[principal.issuer]["*"][principal.kind]}) | {role |
	some token_role in principal.roles
	some role in parameters.token_roles[token_role][principal.kind]
}

roles := roles_of(input.subject)

permitted if {
	some role in roles
	grant := parameters.grants[input.question][role]
	selectors.fits(grant.fields, input.action)
	selectors.names_action(grant.actions, input.action)
	selectors.selects(grant.targets, input.target)
}

# Everyone who still holds a role may follow and cancel what they asked for.
permitted if {
	input.question in {"view", "cancel"}
	input.context.requester.issuer == input.subject.issuer
	input.context.requester.subject == input.subject.subject
	input.context.requester.kind == input.subject.kind
	count(roles) > 0
}

# METADATA
# title: Not permitted
# description: None of the caller's roles permits this action on this target.
# custom:
#   rule: role
#   severity: high
#   why: Everything is forbidden that no role permits.
#   fix: Ask an administrator for a role that permits it, or choose an action and target that you may use.
violations contains {"rule": "role", "details": details} if {
	not permitted
	details := {
		"question": input.question,
		"action": object.get(input, ["action", "name"], null),
		"target": object.get(input, ["target", "name"], null),
		"environment": object.get(input, ["target", "environment"], null),
		"roles": sort(roles),
	}
}
