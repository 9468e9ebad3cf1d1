# METADATA
# title: Values of a plan
# description: Looks for attributes in a plan's values and says of each whether it can be read. A value is a pair of what stands there and the mark beside it.
package lockgate.values

# Known only after apply (the mark says so), or hidden by the runner as sensitive.
dark([_, mark]) if mark == true

dark([value, _]) if is_hidden(value)

is_hidden(value) if {
	is_string(value)
	startswith(value, "hmac-sha256:")
}

# What a change would leave behind.
after(body) := [object.get(body, "after", null), object.get(body, "after_unknown", false)]

# The pairs at a path of names ("settings.tier"), through every list on the way; none where a block is absent.
at(body, path) := pairs if {
	[first] := split(path, ".")
	pairs := below([after(body)], first)
}

at(body, path) := pairs if {
	[first, second] := split(path, ".")
	pairs := below(below([after(body)], first), second)
}

at(body, path) := pairs if {
	[first, second, third] := split(path, ".")
	pairs := below(below(below([after(body)], first), second), third)
}

at(body, path) := pairs if {
	[first, second, third, fourth] := split(path, ".")
	pairs := below(below(below(below([after(body)], first), second), third), fourth)
}

# The same with what stands in a list one by one; none where nothing is set.
each(body, path) := [pair | some whole in at(body, path); some pair in spread(whole)]

below(pairs, name) := [pair |
	some whole in pairs
	some item in spread(whole)
	pair := member(item, name)
]

spread([value, mark]) := [[null, true]] if {
	dark([value, mark])
} else := [[item, part(mark, index)] | some index, item in value] if {
	is_array(value)
} else := [] if {
	is_null(value)
} else := [[value, mark]]

member([value, mark], name) := [null, true] if {
	dark([value, mark])
} else := [object.get(value, name, null), part(mark, name)] if {
	is_object(value)
} # of another shape than was expected: nothing can be said of it

else := [null, true]

part(mark, key) := mark[key] if {
	not is_boolean(mark)
} else := false

# As people and providers write them: a boolean or its text.
is_true(value) if value == true

is_true(value) if lower(value) == "true"
