# METADATA
# title: Google's access bindings
# description: Who gets which role by the plan's google_*_iam_member, _binding and _policy resources. What cannot be read is null.
package lockgate.google_iam

import data.lockgate.changes
import data.lockgate.settings
import data.lockgate.values

# type → the roles and the members that its resources name, each once: who gets what is looked up only where one of them is at fault.
named := {type: words_of(type) | some type, _ in changes.standing; startswith(type, "google_")}

words_of(type) := {
	"roles": {text(pair) | some pair in settings.tops(type, "role")},
	"members": {text(pair) | some top in settings.tops(type, members[kind]); some pair in values.spread(top)},
} if {
	some kind in ["_iam_member", "_iam_binding"]
	endswith(type, kind)
} else := {"roles": {role | some [_, role, _] in granted[type]}, "members": {member | some [_, _, member] in granted[type]}} if {
	endswith(type, "_iam_policy")
} else := {"roles": set(), "members": set()}

# type → [position, role, member]
granted := gathered

gathered[type] contains [position, role, member] if {
	some type, positions in changes.standing
	startswith(type, "google_")
	some position in positions
	body := changes.at(position).change
	some [role, member] in bindings(type, body)
}

bindings(type, body) := {[text(role), text(member)] |
	some role in values.at(body, "role")
	some member in values.each(body, members[kind])
} if {
	some kind in ["_iam_member", "_iam_binding"]
	endswith(type, kind)
} else := {[role, member] | some [role, member] in of_policy(body)} if {
	endswith(type, "_iam_policy")
} else := set()

members := {"_iam_member": "member", "_iam_binding": "members"}

of_policy(body) := {[role, member] |
	some binding in values.json_in(body.after.policy_data).bindings
	role := object.get(binding, "role", null)
	some member in object.get(binding, "members", [null])
} if {
	some pair in values.at(body, "policy_data")
	not values.dark(pair)
	values.json_in(pair[0])
} else := {[null, null]}

text(pair) := pair[0] if {
	not values.dark(pair)
	is_string(pair[0])
} else := null
