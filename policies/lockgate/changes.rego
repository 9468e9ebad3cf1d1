# METADATA
# title: Changes of a plan
# description: The plan's resource changes by what would happen to them and by type, so that a rule looks up its types and scans nothing.
package lockgate.changes

# Positions in `input.plan.resource_changes`, by type.

# What would stand after the change: created, changed in place, replaced, or taken under management as it is.
standing[change.type] contains position if {
	some position, change in input.plan.resource_changes
	not is_data(change)
	stands(change.change)
}

# What would be gone: deleted, replaced, or forgotten by the state.
gone[change.type] contains position if {
	some position, change in input.plan.resource_changes
	not is_data(change)
	some action in change.change.actions
	action in {"delete", "forget"}
}

is_data(change) if change.mode == "data"

stands(body) if {
	some action in body.actions
	action in {"create", "update"}
}

stands(body) if is_object(body.importing)

address(position) := input.plan.resource_changes[position].address
