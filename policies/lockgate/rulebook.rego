# METADATA
# title: The frame of the rules
# description: Which entries of the policy data's `rules` select this target, and what becomes of what a rule finds.
package lockgate.rulebook

import data.lockgate.parameters
import data.lockgate.selectors

# Rule → number of its entry → the entry. A rule that policy data does not list for this question is not looked at.
selected[name][number] := entry if {
	some name, entries in parameters.rules[input.question]
	some number, entry in entries
	selectors.selects(entry.targets, input.target)
}

# What a rule may say, each under the number of the entry it speaks for:
#   resources[number]  a set of addresses at fault
#   unknown[number]    a set of addresses of which it cannot tell, as a value is not known yet or hidden
#   facts[number]      the details of a fault that is no resource's
at_fault[name][number] := addresses if {
	some name, entries in selected
	some number, entry in entries
	addresses := {address | some address in data.lockgate.rules[name].resources[number]; not excepted(entry, address)}
	count(addresses) > 0
}

in_the_dark[name][number] := addresses if {
	some name, entries in selected
	some number, entry in entries
	addresses := {address | some address in data.lockgate.rules[name].unknown[number]; not excepted(entry, address)}
	count(addresses) > 0
}

stated[name][number] := details if {
	some name, entries in selected
	some number, entry in entries
	details := data.lockgate.rules[name].facts[number]
	not excepted_whole(entry)
}

# What is at most shown of the addresses; how many there are is said beside them.
most_shown := 20

shown(addresses, name) := {name: array.slice(sort(addresses), 0, most_shown), concat("", [name, "_count"]): count(addresses)}

# Rule → number of the entry → details, for what an entry denies.
denied[name][number] := stated[name][number] if {
	some name, entries in selected
	some number, entry in entries
	entry.effect == "deny"
}

denied[name][number] := details if {
	some name, entries in at_fault
	some number, addresses in entries
	selected[name][number].effect == "deny"
	not stated[name][number]
	details := object.union(shown(addresses, "resources"), unknown_details(name, number, "deny"))
}

denied[name][number] := shown(addresses, "unknown") if {
	some name, entries in in_the_dark
	some number, addresses in entries
	selected[name][number].unknown == "deny"
	not stated[name][number]
	not at_fault[name][number]
}

# The same, for what an entry leaves to humans.
held[name][number] := stated[name][number] if {
	some name, entries in selected
	some number, entry in entries
	entry.effect == "approve"
}

held[name][number] := details if {
	some name, entries in at_fault
	some number, addresses in entries
	selected[name][number].effect == "approve"
	not stated[name][number]
	details := object.union(shown(addresses, "resources"), unknown_details(name, number, "approve"))
}

held[name][number] := shown(addresses, "unknown") if {
	some name, entries in in_the_dark
	some number, addresses in entries
	selected[name][number].unknown == "approve"
	not stated[name][number]
	not at_fault_for(name, number, "approve")
}

at_fault_for(name, number, effect) if {
	at_fault[name][number]
	selected[name][number].effect == effect
}

unknown_details(name, number, effect) := shown(in_the_dark[name][number], "unknown") if {
	selected[name][number].unknown == effect
} else := {}

violations contains {"rule": name, "details": details} if {
	some name, entries in denied
	some _, details in entries
}

# What must be approved because of what an entry found.
requirements contains selected[name][number].require if {
	some name, entries in held
	some number, _ in entries
}

# An exception without `resources` takes a whole entry away; one with them, these addresses. Until its time, and not after.
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
}

covers(patterns, _) if patterns == null

covers(patterns, address) if patterns.names[address]

covers(patterns, address) if {
	some prefix in patterns.prefixes
	startswith(address, prefix)
}
