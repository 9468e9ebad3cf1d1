# METADATA
# title: Settings
# description: What the resources of a type are given, every value once. Many resources are alike; so rules judge values, and look for resources only where a value is at fault.
package lockgate.settings

import data.lockgate.changes
import data.lockgate.configuration
import data.lockgate.values

# The pairs (values.rego) under one name at the top of whatever would stand of a type. The first reads them from values and marks as Terraform writes them.
tops(type, name) := {pair | some pair in found} if {
	positions := changes.standing[type]
	found := [[
		object.get(input.plan.resource_changes[position].change.after, name, null),
		object.get(input.plan.resource_changes[position].change.after_unknown, name, false),
	] |
		some position in positions
	]
	count(found) == count(positions)
} else := {values.top(changes.at(position).change, name) | some position in changes.standing[type]}

# Whether anything of a type leaves an attribute open.
is_open(type, name) if {
	some [_, true] in tops(type, name)
} else := false

# The pairs at a path, one by one: what configuration.each finds in any resource of a type, and a dark one also where the provider fills it in by itself.
each(type, path) := {pair | some top in tops(type, path); some pair in values.spread(top)} if {
	not contains(path, ".")
} else := {pair |
	some top in tops(type, split(path, ".")[0])
	some whole in values.within(top, path)
	some pair in values.spread(whole)
}

# [position, verdict] of the resources of a type in which a pair at the path has a verdict.
judged(type, path, verdicts) := set() if {
	verdicts == {}
} else := {[position, verdicts[pair]] |
	some position in changes.standing[type]
	some pair in configuration.each(changes.at(position), path)
	verdicts[pair]
}
