# METADATA
# title: Brought rules
# description: Rules of the user's own, attached by `bring` in the policy data. They deny or ask for approval; nothing here can allow.
package lockgate.brought

import data.lockgate.glue
import data.lockgate.parameters
import data.lockgate.selectors

# A value is shown to people: no more of it than they can read.
most_denials := 20

most_characters := 500

# The entries that are asked here, by name. A read has no plan and changes nothing.
asked[name] := entry if {
	some name, entry in parameters.bring
	entry.questions[input.question]
	selectors.selects(entry.targets, input.target)
	has_input(entry)
}

has_input(entry) if entry.input == "document"

has_input(entry) if {
	entry.input == "plan"
	input.plan != null
}

# What each rule said, as a list of one; of none where it is undefined, or where the glue is not of exactly this entry.
said[name] := found if {
	some name, entry in asked
	found := [item.value |
		some item in glue.values
		item.name == name
		item.path == entry.path
		item.input == entry.input
	]
}

verdicts[name] := verdict(entry, said[name]) if some name, entry in asked

# Only what reads as a clear yes passes; an unclear value denies, whatever the entry's effect is.
verdict(_, []) := "undefined"

verdict(entry, [value]) := "passed" if {
	passes(entry, value)
} else := "violated" if {
	is_of_its_kind(entry, value)
} else := "mistyped"

passes(entry, value) if {
	entry.reads == "allowed"
	value == true
}

passes(entry, value) if {
	entry.reads == "violated"
	value == false
}

passes(entry, value) if {
	entry.reads == "score"
	is_number(value)
	value <= entry.limit
}

passes(entry, value) if {
	entry.reads == "denials"
	is_collection(value)
	count(value) == 0
}

is_of_its_kind(entry, value) if {
	entry.reads in {"allowed", "violated"}
	is_boolean(value)
}

is_of_its_kind(entry, value) if {
	entry.reads == "score"
	is_number(value)
}

is_of_its_kind(entry, value) if {
	entry.reads == "denials"
	is_collection(value)
}

is_collection(value) if is_set(value)

is_collection(value) if is_array(value)

is_collection(value) if is_object(value)

# What people are shown, of rules that passed too.
readings contains reading if some reading in read

read[name] := reading if {
	some name, entry in asked
	reading := object.union(
		{"name": name, "path": entry.path, "reads": entry.reads, "effect": entry.effect, "verdict": verdicts[name]},
		object.union(limit(entry), shown(verdicts[name], said[name])),
	)
}

limit(entry) := {"limit": most | most := entry.limit}

shown("undefined", _) := {}

shown("mistyped", [value]) := {"type": type_name(value)}

shown(verdict, [value]) := {"value": value} if {
	verdict in {"passed", "violated"}
	not is_collection(value)
}

shown(verdict, [value]) := {"count": count(value), "value": array.slice(sort(denials(value)), 0, most_denials)} if {
	verdict in {"passed", "violated"}
	is_collection(value)
}

denials(value) := [denial(item) | some item in value] if not is_object(value)

denials(value) := [concat(": ", [denial(key), denial(item)]) | some key, item in value] if is_object(value)

# Not json.marshal: the order in which it writes an object's keys is not the same in both engines.
denial(item) := bounded(item) if {
	is_string(item)
} else := bounded(item.msg) if {
	is_string(item.msg)
} else := concat(" ", ["a denial without a message:", type_name(item)])

bounded(text) := substring(text, 0, most_characters)

# Every rule that is asked and does not clearly pass is a violation, or a vote that is needed.
violations contains {"rule": id(name), "details": object.get(read, name, {})} if {
	some name, entry in asked
	not goes_on(name, entry)
}

goes_on(name, _) if verdicts[name] == "passed"

goes_on(name, entry) if is_held(name, entry)

is_held(name, entry) if {
	verdicts[name] == "violated"
	entry.effect == "approve"
	is_object(entry.require)
}

required contains entry.require if {
	some name, entry in asked
	is_held(name, entry)
}

id(name) := concat(".", ["brought", name]) if {
	verdicts[name] == "violated"
} else := concat(".", ["brought", name, object.get(verdicts, name, "undefined")])
