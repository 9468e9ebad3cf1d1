# METADATA
# title: Places of resources
# description: In which regions the resources of a plan would stand, by their own attributes or by those of their provider.
package lockgate.places

import data.lockgate.changes
import data.lockgate.values

# Where clouds write a place: at the top of a resource, and in blocks of what is copied elsewhere.
own := ["region", "location", "availability_zone", "zone", "regions", "locations", "zones", "availability_zones", "node_locations", "zone_ids"]

copies := ["replica.region_name", "replica.region", "geo_location.location", "region.region_name", "failover_location.location", "replication.user_managed.replicas.location", "replica_configuration.region"]

# The pairs of a change: what it says itself of its place.
said(body) := array.concat(
	[pair | some name in own; some pair in values.each(body, name); pair != [null, false]; not is_object(pair[0])],
	[pair | some path in copies; some pair in deep(body, path); pair != [null, false]],
)

# A path below an attribute that is no block is not there.
deep(body, path) := values.each(body, path) if {
	[first, second] := split(path, ".")
	second != ""
	not is_text(body, first)
}

deep(body, path) := pairs if {
	[first, second, third, fourth] := split(path, ".")
	not is_text(body, first)
	pairs := [pair |
		some whole in values.below(values.each(body, concat(".", [first, second, third])), fourth)
		some pair in values.spread(whole)
	]
}

is_text(body, name) if is_string(body.after[name])

# The region in a place: a cloud's zone lies in the region it is named after. Letters and blanks are of no matter: West Europe.
region_of(place) := region if {
	written := replace(lower(place), " ", "")
	region := without_zone(written)
}

# eu-central-1a and us-west-2-lax-1a (AWS), europe-west1-b (Google), 1 (Azure: a zone of its region).
without_zone(written) := concat("-", array.slice(split(written, "-"), 0, 3)) if {
	regex.match(`^[a-z]{2}(-[a-z]+){1,2}-[0-9]+(-[a-z]+-[0-9]+)?[a-z]?$`, written)
	count(split(written, "-")) > 3
	not startswith(written, "us-gov-")
} else := substring(written, 0, count(written) - 1) if {
	regex.match(`^[a-z]{2}(-[a-z]+){1,2}-[0-9]+[a-z]$`, written)
} else := substring(written, 0, count(written) - 2) if {
	regex.match(`^[a-z]+-[a-z]+[0-9]+-[a-z]$`, written)
} else := written

is_zone_number(place) if regex.match(`^[0-9]+$`, place)

# Provider → the regions it is configured for; a configuration of which none can be told is null.
by_provider[provider.full_name] contains region if {
	some _, provider in input.plan.configuration.provider_config
	region := configured(provider)
}

configured(provider) := region_of(value) if {
	value := provider.expressions.region.constant_value
	is_string(value)
	not values.is_hidden(value)
} else := region_of(value) if {
	[name] := provider.expressions.region.references
	startswith(name, "var.")
	value := input.plan.variables[trim_prefix(name, "var.")].value
	is_string(value)
	not values.is_hidden(value)
} else := null

# What is said of one resource: regions, and whether anything of it is in the dark.
regions(position) := {region_of(place) |
	some [place, mark] in said(changes.at(position).change)
	not values.dark([place, mark])
	is_string(place)
	not is_zone_number(place)
}

is_dark(position) if {
	some pair in said(changes.at(position).change)
	values.dark(pair)
}
