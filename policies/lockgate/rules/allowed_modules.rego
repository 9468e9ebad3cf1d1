# METADATA
# title: Module not allowed
# description: The configuration calls modules that are not allowed here, or not in this version.
# custom:
#   rule: allowed_modules
#   severity: high
#   why: A module is someone else's code with one's own permissions, and without a version it is whatever they wrote last.
#   fix: Call an allowed module in an allowed version, or ask an administrator to allow this one.
#   cannot_see: What stands in a module; and of a plan without configuration (of predicted fidelity) nothing at all.
#   parameters:
#     sources:
#       type: array
#       minItems: 1
#       maxItems: 1000
#       items: {type: string, minLength: 1, maxLength: 512}
#       form: patterns
#       required: true
#       description: module sources as the configuration writes them; a name, or a beginning followed by *. Nothing that goes up again (/../) is allowed by a beginning
#     versions:
#       type: object
#       maxProperties: 1000
#       additionalProperties:
#         type: array
#         minItems: 1
#         maxItems: 100
#         items: {type: string, minLength: 1, maxLength: 128}
#       form: patterns_by_name
#       default: {}
#       description: source → the version constraints that a call may write; a text, or a beginning followed by *. A source that is not here may have any, or none
#   example:
#     - effect: deny
#       sources: ["./modules/*", terraform-aws-modules/vpc/aws]
#       versions:
#         terraform-aws-modules/vpc/aws: ["5.21.0", "~> 5.21.0"]
package lockgate.rules.allowed_modules

import data.lockgate.changes
import data.lockgate.configuration
import data.lockgate.rulebook

most_shown := 20

facts[number] := {"modules": array.slice(sort(foreign), 0, most_shown), "modules_count": count(foreign)} if {
	some number, entry in rulebook.selected.allowed_modules
	foreign := {name(call) | some call in configuration.calls; not is_allowed(entry, call)} | deeper
	count(foreign) > 0
}

# The source and version of a call; modules called deeper than can be looked at are none that is allowed.
name(call) := text if {
	text := trim_space(concat(" ", [call.source, object.get(call, "version_constraint", "")]))
} else := "?"

deeper := {"?"} if {
	configuration.too_deep
} else := set()

is_allowed(entry, call) if {
	is_listed(entry.sources, call.source)
	has_version(entry, call)
}

is_listed(sources, source) if sources.names[source]

is_listed(sources, source) if {
	changes.named(sources, source)
	not contains(source, "/../")
	not endswith(source, "/..")
}

has_version(entry, call) if not entry.versions[call.source]

has_version(entry, call) if changes.named(entry.versions[call.source], call.version_constraint)
