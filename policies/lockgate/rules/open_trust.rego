# METADATA
# title: Access for everyone
# description: The change would let anyone in the cloud, or anyone at all, assume a role or use a resource.
# custom:
#   rule: open_trust
#   severity: critical
#   why: A principal `*` means every account of the cloud, and allUsers everyone on the internet. Nobody needs to break in.
#   fix: Name the accounts, roles or members that need access; or narrow the statement by a condition that `trusted_conditions` lists.
#   cannot_see: >-
#     Whether a named principal can be trusted, what else a condition demands, a federated provider that any of its users can use (a role for it needs a condition on the subject), and
#     buckets, for which there is public_bucket.
#   parameters:
#     trusted_conditions:
#       type: array
#       maxItems: 100
#       items: {type: string, minLength: 1, maxLength: 128}
#       form: folded
#       default: []
#       description: condition keys that make a statement for everyone narrow enough when tested by StringEquals or ArnEquals, such as aws:PrincipalOrgID
#   example:
#     - effect: deny
#       trusted_conditions: [aws:PrincipalOrgID, aws:SourceAccount]
package lockgate.rules.open_trust

import data.lockgate.aws_policies
import data.lockgate.changes
import data.lockgate.google_iam
import data.lockgate.rulebook
import data.lockgate.values

resources[number] contains changes.address(position) if {
	some number, entry in rulebook.selected.open_trust
	some position in aws_policies.with_text("trust", aws_policies.open_to_everyone("trust", entry.trusted_conditions.names))
}

unknown[number] contains changes.address(position) if {
	some number, _ in rulebook.selected.open_trust
	some position in aws_policies.unreadable.trust
}

resources[number] contains changes.address(position) if {
	some number, _ in rulebook.selected.open_trust
	some [position, member] in members
	everyone[member]
}

unknown[number] contains changes.address(position) if {
	some number, _ in rulebook.selected.open_trust
	some [position, member] in members
	member == null
}

everyone := {"*": true, "allusers": true, "allauthenticatedusers": true}

# [position, member]: who is let in, in small letters; null where it cannot be read. Of Google's, only where it may be everyone.
members contains [position, folded(member)] if {
	some type, words in google_iam.named
	not startswith(type, "google_storage_")
	suspects := {member | some member in words.members; is_suspect(folded(member))}
	suspects != set()
	some [position, _, member] in google_iam.granted[type]
	member in suspects
}

is_suspect(member) if everyone[member]

is_suspect(member) if member == null

members contains [position, folded(member)] if {
	some position in changes.standing.aws_lambda_permission
	some pair in values.at(changes.at(position).change, "principal")
	member := read(pair)
}

read(pair) := null if {
	values.dark(pair)
} else := pair[0]

folded(member) := trim_space(lower(member)) if {
	is_string(member)
} else := null
