# METADATA
# title: Tags missing
# description: Resources that would be created or changed lack tags (or labels), or have values that are not accepted.
# custom:
#   rule: required_tags
#   severity: low
#   why: Tags say whom to call, who pays, and what may be deleted. What has none is nobody's.
#   fix: Add the tags to the resource, or to the provider's default_tags (AWS) or default_labels (Google).
#   cannot_see: >-
#     Tags inside nested blocks (such as user_labels of a Google SQL instance) and on types whose provider shows neither tags nor labels; those are left out of account, also in `types`.
#     What a resource inherits from an account or a resource group.
#   parameters:
#     tags:
#       type: object
#       minProperties: 1
#       maxProperties: 64
#       propertyNames: {type: string, minLength: 1, maxLength: 128}
#       additionalProperties:
#         type: array
#         minItems: 1
#         maxItems: 200
#         items: {type: string, minLength: 1, maxLength: 256}
#       form: patterns_by_name
#       required: true
#       description: name of each tag → accepted values; a value, or a beginning followed by *. `*` alone is any text but none at all
#     types:
#       type: array
#       minItems: 1
#       maxItems: 1000
#       items: {type: string, minLength: 1, maxLength: 128}
#       form: patterns
#       default: ["*"]
#       description: resource types that need them; a name, or a beginning followed by *
#     except_types:
#       type: array
#       maxItems: 1000
#       items: {type: string, minLength: 1, maxLength: 128}
#       form: patterns
#       default: []
#       description: resource types that do not
#   example:
#     - effect: deny
#       tags:
#         owner: ["team-*"]
#         cost-center: ["*"]
#         environment: [dev, staging, production]
#       except_types: [aws_autoscaling_group]
package lockgate.rules.required_tags

import data.lockgate.changes
import data.lockgate.rulebook
import data.lockgate.values

resources[number] contains changes.address(position) if some [number, position, "missing"] in judged

unknown[number] contains changes.address(position) if some [number, position, "unreadable"] in judged

judged contains [number, position, verdict] if {
	some number, entry in rulebook.selected.required_tags
	found := {words: failings |
		some words in {words | some words in said}
		[tags, mark] := in_force(words.change, words.names)
		failings := verdicts(entry.tags, tags, mark)
		failings != set()
	}
	found != {}
	some type, positions in changes.standing
	is_asked(entry, type)
	some position in positions
	some verdict in found[said[position]]
}

# Position → what its change says of tags, and under which names: many say the same, and it is judged once. Of a change that is not written as Terraform does, all of it.
said := said_in_order if {
	count(said_in_order) == sum([count(positions) | some positions in changes.standing])
} else := object.union(
	{position: {"names": names, "change": changes.at(position).change} |
		some type, positions in changes.standing
		names := attributes(type)
		some position in positions
	},
	said_in_order,
)

said_in_order := {position: {"names": names, "change": {
	"after": object.filter(input.plan.resource_changes[position].change.after, names),
	"after_unknown": object.filter(input.plan.resource_changes[position].change.after_unknown, names),
}} |
	some type, positions in changes.standing
	names := attributes(type)
	some position in positions
}

is_asked(entry, type) if {
	changes.named(entry.types, type)
	not changes.named(entry.except_types, type)
}

# Many resources have the same tags, and OPA remembers what a function said of them.
verdicts(asked, tags, mark) := {failing(tags, mark, name) |
	some name, accepted in asked
	not passes(tags, mark, name, accepted)
}

passes(tags, mark, name, accepted) if {
	value := tags[name]
	is_string(value)
	value != ""
	not values.is_hidden(value)
	not values.part(mark, name)
	changes.named(accepted, value)
}

failing(tags, mark, name) := "unreadable" if {
	values.dark([object.get(tags, name, null), values.part(mark, name)])
} else := "unreadable" if {
	mark == true
	not tags[name]
} else := "missing"

# With what the provider adds to all its resources first, where it shows that.
attributes(type) := ["effective_labels", "terraform_labels", "labels", "resource_labels", "user_labels"] if {
	startswith(type, "google_")
} else := ["tags_all", "tags"]

# The tags in force and the mark beside them, true where tags may be there that are not shown: of the attributes that a resource has the first that is set. Where another one cannot be read, what is not in it may be there all the same.
in_force(body, names) := [tags, object.get(body, ["after_unknown", names[0]], false)] if {
	tags := body.after[names[0]]
	is_object(tags)
} else := first_set(body, names) if {
	may_have(body, names)
}

# Whether any of the attributes is there, or may be.
may_have(body, names) if object.filter(body.after, names) != {}

may_have(body, names) if object.filter(body.after_unknown, names) != {}

may_have(body, _) if body.after_unknown == true

may_have(body, _) if not is_object(object.get(body, "after", null))

first_set(body, names) := [found[0], mark] if {
	pairs := [pair | some name in names; pair := values.member(values.after(body), name)]
	found := [pair | some pair in pairs; is_object(pair[0])][0]
	mark := doubt(pairs, found)
} else := [{}, true] if {
	some name in names
	values.dark(values.member(values.after(body), name))
} else := [{}, false] if {
	some name in names
	object.keys(body.after)[name]
}

doubt(pairs, found) if {
	some pair in pairs
	values.dark(pair)
} else := mark if {
	[_, mark] := found
}
