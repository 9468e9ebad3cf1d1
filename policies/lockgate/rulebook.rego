# METADATA
# title: The frame of the rules
# description: Which entries of the policy data's `rules` select this target, and what becomes of what a rule finds.
package lockgate.rulebook

import data.lockgate.parameters
import data.lockgate.selectors

# Rule → number of its entry → the entry. A rule that policy data does not list for this question is not looked at. (Whole: see changes.rego.)
selected := chosen

chosen[name][number] := entry if {
	target := input.target
	some name, entries in parameters.rules[input.question]
	some number, entry in entries
	selectors.selects(entry.targets, target)
}

# What a rule may say, each under the number of the entry it speaks for:
#   resources[number]  a set of addresses at fault
#   unknown[number]    a set of addresses of which it cannot tell, as a value is not known yet or hidden
#   facts[number]      the details of a fault that is no resource's; then nothing else counts
# Most rules find nothing, so what is gone through is what they say, not what is listed.
facts := told

told[name][number] := details if {
	some name, entries in selected
	some number, details in data.lockgate.rules[name].facts
	not excepted_whole(entries[number])
}

# Where every entry has its fact, nobody asks for resources.
asked := object.remove(selected, {name | some name, said in facts; count(said) == count(selected[name])})

faults := at_fault

at_fault[name][number] := addresses if {
	some name, entries in asked
	some number, found in data.lockgate.rules[name].resources
	addresses := not_excepted(entries[number], found)
}

doubts := in_doubt

in_doubt[name][number] := addresses if {
	some name, entries in asked
	some number, found in data.lockgate.rules[name].unknown
	addresses := not_excepted(entries[number], found)
}

findings contains [name, number, selected[name][number].effect, details] if {
	some name, said in facts
	some number, details in said
}

findings contains [name, number, finding.effect, finding.details] if {
	some said in [faults, doubts]
	some name, found in said
	some number, _ in found
	not facts[name][number]
	some finding in of_resources(
		selected[name][number],
		object.get(faults, [name, number], set()),
		object.get(doubts, [name, number], set()),
	)
}

# Faults have the entry's effect, doubts that of `unknown`; together if both are the same.
of_resources(entry, faults, doubts) := [{"effect": entry.effect, "details": object.union(listed("resources", faults), listed("unknown", doubts))} |
	count(faults) + count(doubts) > 0
] if {
	entry.effect == entry.unknown
} else := array.concat(
	[{"effect": entry.effect, "details": listed("resources", faults)} | count(faults) > 0],
	[{"effect": entry.unknown, "details": listed("unknown", doubts)} | count(doubts) > 0],
)

# What is at most shown of the addresses; how many there are is said beside them.
most_shown := 20

listed(name, addresses) := {name: array.slice(sort(addresses), 0, most_shown), concat("", [name, "_count"]): count(addresses)} if {
	count(addresses) > 0
} else := {}

violations contains {"rule": name, "details": details} if some [name, _, "deny", details] in findings

# What must be approved because of what an entry found.
requirements contains selected[name][number].require if some [name, number, "approve", _] in findings

# Rule → number of the entry → details, for what an entry denies and for what it leaves to humans.
denied[name][number] := details if some [name, number, "deny", details] in findings

held[name][number] := details if some [name, number, "approve", details] in findings

# What people are shown of what they are asked to approve because of an entry: the addresses, or the facts.
readings contains reading if some reading in read

read[name] := reading if {
	some name, entries in held
	said := sort({line | some details in entries; some line in lines(details)})
	reading := {
		"name": name,
		"path": concat(".", ["data.lockgate.rules", name]),
		"reads": "denials",
		"effect": "approve",
		"verdict": "violated",
		"count": max([count(said), max([found(details) | some details in entries])]),
		"value": array.slice(said, 0, most_shown),
	}
}

lines(details) := ({address | some address in details.resources} | {concat("", [address, ": cannot be told yet"]) | some address in details.unknown}) | {fact |
	some name, value in details
	not endswith(name, "_count")
	fact := concat(": ", [name, scalar(value)])
}

scalar(value) := value if is_string(value)

scalar(value) := json.marshal(value) if is_number(value)

found(details) := object.get(details, "resources_count", 0) + object.get(details, "unknown_count", 0)

not_excepted(entry, addresses) := addresses if {
	count(entry.exceptions) == 0
} else := {address | some address in addresses; not excepted(entry, address)}

# An exception without `resources` takes a whole entry away; one with them, these addresses. For whom it names, until its time, and not after.
excepted(entry, address) if {
	some exception in entry.exceptions
	in_force(exception)
	covers(exception.resources, address)
}

excepted_whole(entry) if {
	some exception in entry.exceptions
	exception.resources == null
	in_force(exception)
}

in_force(exception) if {
	substring(input.context.now, 0, 19) < exception.until # both UTC, to the second
	selectors.selects(exception.targets, input.target)
	selectors.is_among(exception.subjects, input.subject)
}

covers(patterns, _) if patterns == null

covers(patterns, address) if patterns.names[address]

covers(patterns, address) if {
	some prefix in patterns.prefixes
	startswith(address, prefix)
}
