# METADATA
# title: Changes of a plan
# description: The plan's resource changes by type and by what would happen to them, so that a rule looks up its types and scans nothing.
package lockgate.changes

# Both are type → positions in `input.plan.resource_changes`, without data sources. Both are whole documents: OPA evaluates a partial one anew for every
# key that somebody looks up.

# What would stand: created, changed in place, replaced, or taken under management as it is. `after` says how.
standing := stands

# What would be gone: deleted, replaced, or forgotten by the state.
gone := goes

stands[change.type] contains position if {
	some position, change in input.plan.resource_changes
	some action in change.change.actions
	makes[action]
	not is_data(change)
}

stands[change.type] contains position if {
	some position, change in input.plan.resource_changes
	is_object(change.change.importing)
	not is_data(change)
}

goes[change.type] contains position if {
	some position, change in input.plan.resource_changes
	some action in change.change.actions
	loses[action]
	not is_data(change)
}

# All types, also of data sources and of what does not change.
types := {change.type | some change in input.plan.resource_changes}

makes := {"create": true, "update": true}

loses := {"delete": true, "forget": true}

is_data(change) if change.mode == "data"

at(position) := input.plan.resource_changes[position]

address(position) := input.plan.resource_changes[position].address

# Addresses of what is gone and of a type that the patterns name.
gone_of(patterns) := {address(position) |
	some type, positions in gone
	named(patterns, type)
	some position in positions
}

# Whether patterns (names and beginnings, as Lockgate derives them) name a text.
named(patterns, text) if patterns.names[text]

named(patterns, text) if {
	some prefix in patterns.prefixes
	startswith(text, prefix)
}
