# METADATA
# title: Values of a plan
# description: Looks for attributes in a plan's values and says of each whether it can be read. A value is a pair of what stands there and the mark beside it.
package lockgate.values

# Known only after apply (the mark says so), or hidden by the runner as sensitive.
dark([_, mark]) if mark == true

dark([value, _]) if is_hidden(value)

# What is no text begins with nothing.
is_hidden(value) if startswith(value, "hmac-sha256:")

# What a change would leave behind.
after(body) := [object.get(body, "after", null), object.get(body, "after_unknown", false)]

# The pairs at a path of names ("settings.tier"), through every list on the way; none where a block is absent.
at(body, path) := within(top(body, split(path, ".")[0]), path)

# The same where the pair under the path's first name is known.
within(pair, path) := [pair] if {
	not contains(path, ".")
} else := down([pair], parts, count(parts)) if {
	parts := split(path, ".")
}

# The same with what stands in a list one by one; none where nothing is set.
each(body, path) := spread(top(body, path)) if {
	not contains(path, ".")
} else := [pair | some whole in at(body, path); some pair in spread(whole)]

# The pair under one name. Nearly always nothing of it is left open, and that is told first.
top(body, name) := [object.get(body.after, name, null), false] if {
	not body.after_unknown[name]
	body.after_unknown != true
} else := member(after(body), name)

down(pairs, parts, 2) := below(pairs, parts[1])

down(pairs, parts, 3) := below(below(pairs, parts[1]), parts[2])

down(pairs, parts, 4) := below(below(below(pairs, parts[1]), parts[2]), parts[3])

below(pairs, name) := [pair |
	some whole in pairs
	some item in spread(whole)
	pair := member(item, name)
]

spread([value, mark]) := [[item, part(mark, index)] | some index, item in value] if {
	is_array(value)
	mark != true
} else := [] if {
	is_null(value)
	mark != true
} else := [[null, true]] if {
	dark([value, mark])
} else := [[value, mark]]

# What is in the dark has members of which nothing can be said, and so has what is of another shape than was expected.
member([value, mark], name) := [object.get(value, name, null), false] if {
	mark == false
	is_object(value)
} else := [object.get(value, name, null), part(mark, name)] if {
	is_object(value)
	mark != true
} else := [null, true]

part(mark, key) := mark[key] if {
	not is_boolean(mark)
} else := false

# The value of a JSON text. OPA's Wasm stops reading where a value ends, whatever stands after it; so the text has to be followed by itself, as a string, which
# no text can hold.
json_in(text) := items[0] if {
	items := json.unmarshal(concat("", ["[", text, ",", json.marshal(text), "]"]))
	count(items) == 2
	items[1] == text
}

# As people and providers write them: a boolean or its text.
is_true(value) if value == true

is_true(value) if lower(value) == "true"
