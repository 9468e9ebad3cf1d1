# METADATA
# title: Configuration of a plan
# description: The modules of the plan's configuration, however deep they call one another, and what stands in them.
package lockgate.configuration

import data.lockgate.values

root := input.plan.configuration.root_module

# Modules by how deep they are called; what is deeper than this is in `too_deep`.
calls_1 := [call | some _, call in root.module_calls]

calls_2 := [call | some above in calls_1; some _, call in above.module.module_calls]

calls_3 := [call | some above in calls_2; some _, call in above.module.module_calls]

calls_4 := [call | some above in calls_3; some _, call in above.module.module_calls]

calls_5 := [call | some above in calls_4; some _, call in above.module.module_calls]

calls_6 := [call | some above in calls_5; some _, call in above.module.module_calls]

calls_7 := [call | some above in calls_6; some _, call in above.module.module_calls]

calls_8 := [call | some above in calls_7; some _, call in above.module.module_calls]

too_deep if {
	some call in calls_8
	count(call.module.module_calls) > 0
}

calls := array.concat(
	array.concat(array.concat(calls_1, calls_2), array.concat(calls_3, calls_4)),
	array.concat(array.concat(calls_5, calls_6), array.concat(calls_7, calls_8)),
)

modules := array.concat([root], [call.module | some call in calls; call.module])

# [type, name, attribute] of what some resource of that type and name, in whatever module, is given.
given := {[resource.type, resource.name, attribute] |
	some module in modules
	some resource in module.resources
	some attribute, _ in resource.expressions
}

# Whether an attribute of this change is configured. Without a configuration it may be, and so it is taken to be.
gives(change, attribute) if given[[change.type, change.name, attribute]]

gives(_, _) if not root

# An attribute at a path that is not known and that nobody configured: the provider fills it in with its own. Attributes stand in the configuration, and so do
# blocks, but for those that `dynamic` makes.
is_providers_own(change, path) if {
	name := split(path, ".")[0]
	change.change.after_unknown[name] == true
	not gives(change, name)
}

# The pairs at a path, one by one (values.rego), of what somebody configured or the provider already tells.
each(change, path) := values.each(change.change, path) if not is_providers_own(change, path)
