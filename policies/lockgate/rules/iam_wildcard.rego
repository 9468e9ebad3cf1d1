# METADATA
# title: Permission for everything
# description: The change would give AWS permissions by wildcard, or all but some.
# custom:
#   rule: iam_wildcard
#   severity: critical
#   why: Whoever gets hold of a role with `*` has the account. What a permission is for can be said, and then it can also be read.
#   fix: Name the actions and the resources that are needed, instead of `*`, NotAction and NotResource.
#   cannot_see: >-
#     Conditions, which are taken to narrow nothing; permissions that add up over several policies; policies that the plan only attaches (see broad_role); policies of
#     resources (see open_trust). A new aws_iam_role without inline policies shows the same as one whose inline policies are not known yet, see `roles_without_inline`.
#   parameters:
#     service_wildcards:
#       type: boolean
#       default: true
#       description: all actions of one service (s3:*) count too
#     any_resource:
#       type: boolean
#       default: true
#       description: any resource (`*`, or any of a service) counts too, unless all actions are in `harmless`
#     harmless:
#       type: array
#       maxItems: 1000
#       items: {type: string, minLength: 1, maxLength: 128}
#       form: folded
#       description: actions that may be allowed on any resource; a name, or a beginning followed by *
#       default:
#         - cloudwatch:PutMetricData
#         - ec2:Describe*
#         - ecr:GetAuthorizationToken
#         - elasticloadbalancing:Describe*
#         - autoscaling:Describe*
#         - logs:Describe*
#         - s3:ListAllMyBuckets
#         - sts:GetCallerIdentity
#         - tag:Get*
#         - xray:Put*
#     roles_without_inline:
#       type: boolean
#       default: false
#       description: true takes a role whose inline policies are neither configured nor known for one without. Leave it false where roles make them by `dynamic` blocks
#   example:
#     - effect: deny
#       unknown: approve
#       roles_without_inline: true
package lockgate.rules.iam_wildcard

import data.lockgate.aws_policies
import data.lockgate.changes
import data.lockgate.rulebook

resources[number] contains changes.address(position) if {
	some number, entry in rulebook.selected.iam_wildcard
	some position in aws_policies.with_text("identity", {document |
		some [document, statement] in aws_policies.allowing.identity
		is_too_wide(entry, statement)
	})
}

unknown[number] contains changes.address(position) if {
	some number, _ in rulebook.selected.iam_wildcard
	some position in aws_policies.unreadable.identity
}

unknown[number] contains changes.address(position) if {
	some number, entry in rulebook.selected.iam_wildcard
	not entry.roles_without_inline
	some position in aws_policies.unsaid
}

is_too_wide(_, statement) if count(aws_policies.many(statement.NotAction)) > 0

is_too_wide(_, statement) if count(aws_policies.many(statement.NotResource)) > 0

is_too_wide(_, statement) if {
	some action in aws_policies.listed(statement, "Action")
	regex.match(`^[*?]*(:|$)`, action)
}

is_too_wide(entry, statement) if {
	entry.service_wildcards
	some action in aws_policies.listed(statement, "Action")
	regex.match(`^[^:]*:[*?]*(:|$)`, action)
}

is_too_wide(entry, statement) if {
	entry.any_resource
	some resource in aws_policies.listed(statement, "Resource")
	is_any_resource(resource)
	some action in aws_policies.listed(statement, "Action")
	not changes.named(entry.harmless, lower(action))
}

# Nothing but wildcards; or arn:partition:service:region:account:resource with nothing but wildcards for the resource.
is_any_resource(resource) if regex.match(`^([*?]*|([^:]*:){5}[*?:/]*)$`, resource)

# Wildcards before it is clear which service is meant.
is_any_resource(resource) if {
	contains(resource, "*")
	count(split(resource, ":")) < 6
}
