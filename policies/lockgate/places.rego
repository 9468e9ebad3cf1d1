# METADATA
# title: Places of resources
# description: In which regions the resources of a plan would stand, by their own attributes or by those of their provider.
package lockgate.places

import data.lockgate.changes
import data.lockgate.values

# Where clouds write a place: at the top of a resource, and in blocks of what is copied elsewhere.
own := ["region", "location", "availability_zone", "zone", "availability_zones", "zones", "locations", "regions", "node_locations"]

copies := {
	"replica": ["region_name", "region"], "replica_configuration": ["region"], "geo_location": ["location"],
	"failover_location": ["location"], "replication": ["user_managed.replicas.location"],
}

# Place as it is written → positions of the resources that would stand there.
at[place] contains position if {
	some position in standing
	after := changes.at(position).change.after
	some name in own
	some place in texts(after[name])
}

at[place] contains position if {
	some position, blocks in copied
	some pairs in blocks
	some [place, mark] in pairs
	not values.dark([place, mark])
}

# Positions of resources of whose places something is not known yet, or hidden.
dark contains position if {
	some position in standing
	unknown := changes.at(position).change.after_unknown
	some name in own
	is_marked(unknown[name])
}

dark contains position if {
	some position in standing
	changes.at(position).change.after_unknown == true
}

dark contains position if {
	some place, positions in at
	values.is_hidden(place)
	some position in positions
}

dark contains position if {
	some position, blocks in copied
	some pairs in blocks
	some pair in pairs
	values.dark(pair)
}

told contains position if {
	some _, positions in at
	some position in positions
}

standing contains position if {
	some _, positions in changes.standing
	some position in positions
}

texts(value) := [value] if is_string(value)

texts(value) := value if is_array(value)

is_marked(mark) if mark == true

is_marked(mark) if true in mark

copied[position][block] := pairs if {
	some position in standing
	body := changes.at(position).change
	some block, names in copies
	has_block(body, block)
	pairs := [pair |
		some name in names
		some pair in below(values.each(body, block), split(name, "."))
		pair != [null, false]
	]
}

has_block(body, block) if body.after[block]

has_block(body, block) if body.after_unknown[block]

below(pairs, [first]) := spread(values.below(pairs, first))

below(pairs, [first, second, third]) := spread(values.below(spread(values.below(spread(values.below(pairs, first)), second)), third))

spread(pairs) := [pair | some whole in pairs; some pair in values.spread(whole)]

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
	object.get(provider, "module_address", "") == "" # a module has variables of its own, and the plan says their values nowhere
	[name] := provider.expressions.region.references
	startswith(name, "var.")
	value := input.plan.variables[trim_prefix(name, "var.")].value
	is_string(value)
	not values.is_hidden(value)
} else := null
