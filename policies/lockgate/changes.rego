# METADATA
# title: Changes of a plan
# description: The plan's resource changes by type and by what would happen to them, so that a rule looks up its types and scans nothing.
package lockgate.changes

# All of these are type → positions in `input.plan.resource_changes`, and whole documents made by comprehensions: of a partial object OPA evaluates anew each key that
# somebody looks up, and compares each key with all before.

# What would stand: created, changed in place, replaced, or taken under management as it is. `after` says how. Without data sources.
standing := by_type([[type, those] |
	some [type, mode, actions], positions in alike
	mode != "data"
	those := standing_of(actions, positions)
	those != set()
])

# What would be gone: deleted, replaced, or forgotten by the state. Without data sources.
gone := by_type([[type, positions] |
	some [type, mode, actions], positions in alike
	mode != "data"
	some action in actions
	loses[action]
])

# Everything, also data sources and what does not change.
every_type := by_type([[type, positions] | some [type, _, _], positions in alike])

by_type(pairs) := {type: union({pair[1] | some pair in pairs; pair[0] == type}) | some type in {pair[0] | some pair in pairs}}

standing_of(actions, positions) := positions if {
	some action in actions
	makes[action]
} else := {position | some position in positions; is_object(at(position).change.importing)}

# Kind → positions. A plan has many changes and few kinds of them: what is asked of a kind is asked once.
alike := {kind: positions |
	some kind in {kind | some kind in kinds}
	positions := {position | some position; kinds[position] == kind}
}

# What tells changes apart, [type, mode, actions]: few things, each of few values.
kinds := {position: [change.type, object.get(change, "mode", "managed"), object.get(change, ["change", "actions"], [])] |
	some position, change in input.plan.resource_changes
}

makes := {"create": true, "update": true}

loses := {"delete": true, "forget": true}

at(position) := input.plan.resource_changes[position]

address(position) := input.plan.resource_changes[position].address

# Addresses of what is gone and of a type that the patterns name.
gone_of(patterns) := {address(position) |
	some type, positions in gone
	named(patterns, type)
	some position in positions
}

# Of some types those that patterns name. Names are looked up, and only beginnings compared.
among(patterns, types) := {type | some type, _ in patterns.names; types[type]} | {type |
	some prefix in patterns.prefixes
	some type in types
	startswith(type, prefix)
}

# Whether patterns (names and beginnings, as Lockgate derives them) name a text.
named(patterns, text) if patterns.names[text]

named(patterns, text) if {
	some prefix in patterns.prefixes
	startswith(text, prefix)
}
