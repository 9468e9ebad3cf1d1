# METADATA
# title: Selectors
# description: How parameters name actions and targets. Compiled from the users' data by Lockgate when it loads.
package lockgate.selectors

# null means "any"; so does a part that is null. What is no target is selected by null alone.
selects(selector, _) if selector == null

selects(selector, target) if {
	selector != null
	target != null
	matches(selector, target)
	not excepted(selector, target)
}

matches(selector, target) if {
	fits(selector.fields, target)
	labelled(selector.labels, target)
}

excepted(selector, target) if {
	some exception in selector.except
	matches(exception, target)
}

labelled(labels, _) if labels == null

labelled(labels, target) if {
	every key, values in labels {
		has_value(values, target.labels[key])
	}
}

has_value(values, value) if values[value]

has_value(values, _) if values["*"]

# An action pattern is a name, or a prefix; null means "any".
names_action(pattern, _) if pattern == null

names_action(pattern, action) if pattern.names[action.name]

names_action(pattern, action) if {
	some prefix in pattern.prefixes
	startswith(action.name, prefix)
}

# Whether a caller is one of those that are listed, each by the fields it names; null lists everybody.
is_among(subjects, _) if subjects == null

is_among(subjects, subject) if {
	some fields in subjects
	fits(fields, subject)
}

# Whether an action or a target has one of the values in each of the fields that are named; null names none.
fits(fields, _) if fields == null

fits(fields, thing) if {
	every field, values in fields {
		values[thing[field]]
	}
}
