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
at(body, path) := [member(after(body), path)] if {
	not contains(path, ".")
} else := pairs if {
	parts := split(path, ".")
	pairs := down(after(body), parts, count(parts))
}

down(whole, parts, 2) := below([member(whole, parts[0])], parts[1])

down(whole, parts, 3) := below(below([member(whole, parts[0])], parts[1]), parts[2])

down(whole, parts, 4) := below(below(below([member(whole, parts[0])], parts[1]), parts[2]), parts[3])

# The same with what stands in a list one by one; none where nothing is set.
each(body, path) := [pair | some whole in at(body, path); some pair in spread(whole)]

below(pairs, name) := [pair |
	some whole in pairs
	some item in spread(whole)
	pair := member(item, name)
]

spread([value, mark]) := [[item, part(mark, index)] | some index, item in value] if {
	is_array(value)
	mark != true
} else := [[null, true]] if {
	dark([value, mark])
} else := [] if {
	is_null(value)
} else := [[value, mark]]

# What is in the dark has members of which nothing can be said, and so has what is of another shape than was expected.
member([value, mark], name) := [object.get(value, name, null), part(mark, name)] if {
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
