# METADATA
# title: Commands beside the change
# description: The plan runs provisioners, actions or external commands that are not allowed here.
# custom:
#   rule: banned_provisioners
#   severity: high
#   why: A provisioner is any command at all, on the runner or on the machine. The plan shows that it runs, and not what it does, and nothing can undo it.
#   fix: Do it with a resource, in the image, or in cloud-init; or ask an administrator to allow this kind here.
#   cannot_see: >-
#     What an allowed command does. Beside provisioners it counts actions (which newer engines run with a change), provisioners of `removed` blocks, and `encryption` blocks whose key
#     providers are commands; none of these can be allowed by `allowed`.
#   parameters:
#     allowed:
#       type: array
#       maxItems: 100
#       items: {type: string, pattern: "^[a-z][a-z0-9_-]{0,63}$"}
#       form: set
#       default: []
#       description: kinds of provisioners that may run (file, local-exec, remote-exec)
#   example:
#     - effect: deny
#       targets: {environments: [production]}
#     - effect: approve
#       allowed: [file]
package lockgate.rules.banned_provisioners

import data.lockgate.rulebook

most_shown := 20

facts[number] := {"provisioners": array.slice(sort(banned), 0, most_shown), "provisioners_count": count(banned)} if {
	some number, entry in rulebook.selected.banned_provisioners
	banned := {line | some line in input.plan.provisioners; not is_allowed(entry, line)}
	count(banned) > 0
}

# "address: kind". Anything else that the runner lists here has no such ending, or one that is no kind.
is_allowed(entry, line) if {
	parts := split(line, ": ")
	entry.allowed[parts[count(parts) - 1]]
}
