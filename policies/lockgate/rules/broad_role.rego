# METADATA
# title: Role that may do nearly everything
# description: The change would give a ready-made role or policy that permits nearly everything.
# custom:
#   rule: broad_role
#   severity: critical
#   why: Owner, Editor and AdministratorAccess are short to write and permit nearly all there is, also what nobody thought of.
#   fix: Give the narrowest ready-made role that will do, or one of your own that names what is needed.
#   cannot_see: What a role of your own permits (see iam_wildcard for AWS), groups and their members, and what a role on one resource lets someone reach on others.
#   parameters:
#     roles:
#       type: array
#       minItems: 1
#       maxItems: 1000
#       items: {type: string, minLength: 1, maxLength: 256}
#       form: folded
#       description: names of Google and Azure roles, the last part of the ARN of an AWS policy, ids of Azure roles; in any letters, a name or a beginning followed by *
#       default:
#         - AdministratorAccess
#         - IAMFullAccess
#         - PowerUserAccess
#         - roles/editor
#         - roles/owner
#         - roles/iam.securityAdmin
#         - roles/resourcemanager.organizationAdmin
#         - Owner
#         - Contributor
#         - User Access Administrator
#         - Role Based Access Control Administrator
#         - 8e3af657-a8ff-443c-a75c-2fe8c4bcb635
#         - b24988ac-6180-42a0-ab88-20f7382dd24c
#         - 18d7d88d-d35e-4fb5-a5c3-7773c20a72d9
#         - f58310d9-a9f6-439a-9e8d-f62e7b41a168
#   example:
#     - effect: deny
#       targets: {environments: [production]}
#     - effect: approve
#       roles: [roles/owner, Owner, AdministratorAccess]
package lockgate.rules.broad_role

import data.lockgate.changes
import data.lockgate.configuration
import data.lockgate.google_iam
import data.lockgate.rulebook
import data.lockgate.settings
import data.lockgate.values

resources[number] contains changes.address(position) if {
	some number, entry in rulebook.selected.broad_role
	broad := {role | some role in roles; changes.named(entry.roles, role)}
	broad != set()
	some [position, role] in given
	role in broad
}

unknown[number] contains changes.address(position) if {
	some number, _ in rulebook.selected.broad_role
	null in roles
	some [position, role] in given
	role == null
}

# The roles that are given, each once. To whom is looked up only where one of them is at fault.
roles contains last_part(pair) if {
	some type, _ in changes.standing
	path := attachments[type]
	some pair in settings.each(type, path)
}

roles contains folded(role) if {
	some _, words in google_iam.named
	some role in words.roles
}

roles contains role if some [_, role] in given_by_azure

# [position, role]: in small letters, null where it cannot be read.
given contains [position, last_part(pair)] if {
	some type, path in attachments
	some position in changes.standing[type]
	some pair in configuration.each(changes.at(position), path)
}

given contains [position, folded(role)] if {
	some _, bindings in google_iam.granted
	some [position, role, _] in bindings
}

given contains pair if some pair in given_by_azure

# An Azure assignment names its role or gives its id; the other one is the provider's to fill in.
given_by_azure contains [position, folded(role)] if {
	some position in changes.standing.azurerm_role_assignment
	whole := values.after(changes.at(position).change)
	role := named_by(values.member(whole, "role_definition_name"), values.member(whole, "role_definition_id"))
}

# A role of one's own that permits every action is an owner by another name.
given_by_azure contains [position, role] if {
	some position in changes.standing.azurerm_role_definition
	some kind in ["permissions.actions", "permissions.data_actions"]
	some pair in values.each(changes.at(position).change, kind)
	role := permitting(pair)
}

permitting(pair) := null if {
	values.dark(pair)
} else := "owner" if {
	pair[0] == "*"
}

named_by(name, id) := name[0] if {
	not values.dark(name)
	is_string(name[0])
	name[0] != ""
} else := after_last_slash(id[0]) if {
	not values.dark(id)
	is_string(id[0])
	id[0] != ""
} else := null

attachments := {
	"aws_iam_group_policy_attachment": "policy_arn", "aws_iam_group_policy_attachments_exclusive": "policy_arns",
	"aws_iam_policy_attachment": "policy_arn", "aws_iam_role": "managed_policy_arns",
	"aws_iam_role_policy_attachment": "policy_arn", "aws_iam_role_policy_attachments_exclusive": "policy_arns",
	"aws_iam_user_policy_attachment": "policy_arn", "aws_iam_user_policy_attachments_exclusive": "policy_arns",
	"aws_ssoadmin_managed_policy_attachment": "managed_policy_arn",
	"azurerm_pim_active_role_assignment": "role_definition_id", "azurerm_pim_eligible_role_assignment": "role_definition_id",
}

last_part(pair) := null if {
	values.dark(pair)
} else := lower(after_last_slash(pair[0])) if {
	is_string(pair[0])
} else := null

after_last_slash(text) := parts[count(parts) - 1] if parts := split(text, "/")

folded(role) := lower(role) if {
	is_string(role)
} else := null
