# METADATA
# title: Replaced with a gap
# description: The change would delete resources before their replacements exist, where the new one must be there first.
# custom:
#   rule: create_before_destroy
#   severity: high
#   why: Between the delete and the create there is nothing, and if the create fails there stays nothing. With the new one first, users notice neither.
#   fix: Set create_before_destroy in the resource's lifecycle block, or make the change without replacing it.
#   cannot_see: A resource deleted under one address and created anew under another; the two are a delete and a create to the tool too.
#   parameters:
#     types:
#       type: array
#       minItems: 1
#       maxItems: 1000
#       items: {type: string, minLength: 1, maxLength: 128}
#       form: patterns
#       description: resource types whose replacement must exist first; a name, or a beginning followed by *
#       default:
#         - aws_acm_certificate
#         - aws_autoscaling_group
#         - aws_instance
#         - aws_launch_configuration
#         - aws_launch_template
#         - aws_lb_target_group
#         - aws_security_group
#         - azurerm_linux_virtual_machine
#         - azurerm_windows_virtual_machine
#         - google_compute_instance_template
#         - google_compute_managed_ssl_certificate
#         - google_compute_region_instance_template
#         - google_compute_ssl_certificate
#   example:
#     - targets: {environments: [production]}
#       effect: deny
#       types: [aws_lb_target_group, "google_compute_*"]
package lockgate.rules.create_before_destroy

import data.lockgate.changes
import data.lockgate.rulebook

resources[number] contains changes.address(position) if {
	some number, entry in rulebook.selected.create_before_destroy
	some type, positions in changes.gone
	changes.named(entry.types, type)
	some position in positions
	changes.at(position).change.actions == ["delete", "create"]
}
