# METADATA
# title: Selectors
# description: How parameters name actions and targets. Compiled from the users' data by Lockgate when it loads.
package lockgate.selectors

# A target selector has three parts; null means "any".
selects(selector, target) if {
	named(selector, target)
	in_environment(selector, target)
	labelled(selector, target)
}

named(selector, _) if selector.names == null

named(selector, target) if selector.names[target.name]

in_environment(selector, _) if selector.environments == null

in_environment(selector, target) if selector.environments[target.environment]

labelled(selector, _) if selector.labels == null

labelled(selector, target) if {
	every key, values in selector.labels {
		values[target.labels[key]]
	}
}

# An action pattern is a name, or a prefix; null means "any".
names_action(pattern, _) if pattern == null

names_action(pattern, action) if pattern.names[action.name]

names_action(pattern, action) if {
	some prefix in pattern.prefixes
	startswith(action.name, prefix)
}

has_effect(effects, _) if effects == null

has_effect(effects, action) if effects[action.effect]
