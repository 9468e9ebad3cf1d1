# METADATA
# title: Changes of a plan
# description: The plan's resource changes by type and by what would happen to them, so that a rule looks up its types and scans nothing.
package lockgate.changes

# All of these are type → positions in `input.plan.resource_changes`, and whole documents made by comprehensions: of a partial object OPA evaluates anew each key that
# somebody looks up, and compares each key with all before.

# What would stand: created, changed in place, replaced, or taken under management as it is. `after` says how. Without data sources.
standing := by_type([[of.type, positions] |
	some [of, body, imported], positions in alike
	not of.mode == "data"
	stands(body, imported)
])

# What would be gone: deleted, replaced, or forgotten by the state. Without data sources.
gone := by_type([[of.type, positions] |
	some [of, body, _], positions in alike
	not of.mode == "data"
	some action in body.actions
	loses[action]
])

# Everything, also data sources and what does not change.
every_type := by_type([[of.type, positions] | some [of, _, _], positions in alike])

by_type(pairs) := {type: union({pair[1] | some pair in pairs; pair[0] == type}) | some type in {pair[0] | some pair in pairs}}

stands(_, true)

stands(body, _) if {
	some action in body.actions
	makes[action]
}

# Kind → positions. A plan has many changes and few kinds of them: what is asked of a kind is asked once.
alike := {kind: positions |
	some kind in {kind | some kind in kinds}
	positions := {position | some position; kinds[position] == kind}
}

# What tells changes apart: few things, each of few values. Whence something is imported would make a kind of every import.
kinds := {position: [object.filter(change, ["type", "mode"]), object.filter(body, ["actions"]), is_imported(body)] |
	some position, change in input.plan.resource_changes
	body := object.get(change, "change", {})
}

is_imported(body) if {
	is_object(body.importing)
} else := false

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

# Whether patterns (names and beginnings, as Lockgate derives them) name a text.
named(patterns, text) if patterns.names[text]

named(patterns, text) if {
	some prefix in patterns.prefixes
	startswith(text, prefix)
}
