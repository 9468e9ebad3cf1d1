# METADATA
# title: Google's access bindings
# description: Who gets which role by the plan's google_*_iam_member, _binding and _policy resources. What cannot be read is null.
package lockgate.google_iam

import data.lockgate.changes
import data.lockgate.values

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
