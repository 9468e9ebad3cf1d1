# METADATA
# title: Programs and pages as data
# description: The configuration reads data through programs or from pages on the network while it plans.
# custom:
#   rule: external_data
#   severity: high
#   why: A data source of type `external` runs a program whenever someone plans, before anybody has approved anything, and `http` lets a stranger's page decide what is built.
#   fix: Pass the value as a variable, or read it with a data source of the provider it belongs to.
#   cannot_see: What other data sources ask their providers to do; and of a plan without configuration (of predicted fidelity) only what the plan itself lists.
#   parameters:
#     types:
#       type: array
#       minItems: 1
#       maxItems: 1000
#       items: {type: string, minLength: 1, maxLength: 128}
#       form: patterns
#       default: [external, http, shell_script, "graphql_*", "restapi_*", "terracurl_*"]
#       description: types of data sources (and of resources and ephemeral resources of the same name) that count; a name, or a beginning followed by *
#   example:
#     - effect: deny
package lockgate.rules.external_data

import data.lockgate.changes
import data.lockgate.configuration
import data.lockgate.rulebook

resources[number] contains address if {
	some number, entry in rulebook.selected.external_data
	some type in changes.among(entry.types, object.keys(configured))
	some address in configured[type]
}

resources[number] contains changes.address(position) if {
	some number, entry in rulebook.selected.external_data
	some type in changes.among(entry.types, {type | some [type, _, _], _ in changes.alike})
	some position in changes.every_type[type]
}

# Type → addresses inside their modules; modules called deeper than can be looked at may hold anything.
configured[resource.type] contains resource.address if {
	some module in configuration.modules
	some resource in module.resources
}

unknown[number] contains "modules called more than 8 deep" if {
	some number, _ in rulebook.selected.external_data
	configuration.too_deep
}
