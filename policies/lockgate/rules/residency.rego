# METADATA
# title: Outside of the allowed regions
# description: The target, or what would be made in it, lies or may lie in a region where this must not be.
# custom:
#   rule: residency
#   severity: high
#   why: Where data may be stored is law and contract; a plan names a region in a word that nobody reads.
#   fix: Make these resources in an allowed region, and name the provider's region by a variable or on the resource, so that it can be told.
#   cannot_see: Resources without a place of their own (an Azure subnet lies where its network does), copies that a service makes by itself, and, of AWS, a provider's region that is a literal, since literals of a configuration are hidden, or is made in a module; those are unknown. An expression over one variable (`"${var.region}-2"`) looks in a plan like the variable itself, and is taken for it.
#   questions: [request, plan, apply, heal]
#   parameters:
#     regions:
#       type: array
#       minItems: 1
#       maxItems: 200
#       items: {type: string, minLength: 1, maxLength: 64, pattern: '^[^*A-Z ]*\*?$'}
#       form: patterns
#       required: true
#       description: The allowed regions, small letters without blanks; a name, or a beginning followed by *. A zone lies in its region.
#     target_regions:
#       type: array
#       minItems: 1
#       maxItems: 200
#       items: {type: string, minLength: 1, maxLength: 128, pattern: '^[^*]*\*?$'}
#       form: patterns
#       description: The regions of Lockgate in which the target itself may lie. Left out, any of the tenant's.
#       default: ["*"]
#     types:
#       type: array
#       minItems: 1
#       maxItems: 500
#       items: {type: string, minLength: 1, maxLength: 128, pattern: '^[^*]*\*?$'}
#       form: patterns
#       description: Resource types that must say where they lie, on themselves or by their provider. Others are judged where they say it.
#       default: ["aws_*"]
#     everywhere:
#       type: array
#       maxItems: 500
#       items: {type: string, minLength: 1, maxLength: 128, pattern: '^[^*]*\*?$'}
#       form: patterns
#       description: Resource types that lie nowhere in particular.
#       default: ["aws_iam_*", "aws_route53_*", "aws_cloudfront_*", "aws_organizations_*", "aws_account_*", "aws_globalaccelerator_*", "aws_budgets_*", "aws_ce_*"]
#   example:
#     - targets: {labels: {data: [personal]}}
#       effect: deny
#       regions: ["eu-*", "europe-*", westeurope, northeurope]
#       target_regions: ["eu*"]
package lockgate.rules.residency

import data.lockgate.changes
import data.lockgate.places
import data.lockgate.rulebook
import data.lockgate.values

facts[number] := {"region": input.target.region} if {
	some number, entry in rulebook.selected.residency
	not changes.named(entry.target_regions, input.target.region)
}

resources[number] contains changes.address(position) if {
	some number, entry in rulebook.selected.residency
	some place, positions in places.at
	is_elsewhere(entry, place)
	some position in positions
	judged[number][position]
}

# Only its provider says where it lies, and all that the provider is configured for is not allowed.
resources[number] contains changes.address(position) if {
	some number, positions in left_to_provider
	entry := rulebook.selected.residency[number]
	some position in positions
	is_configured_elsewhere(entry, position)
}

unknown[number] contains changes.address(position) if {
	some number, positions in judged
	some position in places.dark
	positions[position]
}

unknown[number] contains changes.address(position) if {
	some number, positions in left_to_provider
	entry := rulebook.selected.residency[number]
	some position in positions
	not is_configured_within(entry, position)
	not is_configured_elsewhere(entry, position)
}

is_elsewhere(entry, place) if {
	is_string(place)
	not values.is_hidden(place)
	not places.is_zone_number(place)
	not changes.named(entry.regions, places.region_of(place))
}

judged[number] := {position: true |
	some type, positions in changes.standing
	not changes.named(entry.everywhere, type)
	some position in positions
} if {
	some number, entry in rulebook.selected.residency
}

left_to_provider[number] := {position |
	some type, positions in changes.standing
	changes.named(entry.types, type)
	not changes.named(entry.everywhere, type)
	some position in positions
	not position in places.told
	not position in places.dark
} if {
	some number, entry in rulebook.selected.residency
}

configured(position) := object.get(places.by_provider, changes.at(position).provider_name, set())

is_configured_elsewhere(entry, position) if {
	regions := configured(position)
	count(regions) > 0
	every region in regions {
		region != null
		not changes.named(entry.regions, region)
	}
}

# Every configuration of its provider is in an allowed region, and there is one.
is_configured_within(entry, position) if {
	regions := configured(position)
	count(regions) > 0
	every region in regions {
		region != null
		changes.named(entry.regions, region)
	}
}
