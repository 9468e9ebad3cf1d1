# METADATA
# title: Provider not allowed
# description: The change uses providers that are not allowed here.
# custom:
#   rule: allowed_providers
#   severity: high
#   why: A provider is a program with the credentials of the run. Which ones may run is a decision, not a line in somebody's module.
#   fix: Use an allowed provider, or ask an administrator to allow this one (the runner's configuration must list its build, too).
#   cannot_see: What a provider does with its credentials; which builds may run at all is the runner's to say.
#   parameters:
#     sources:
#       type: array
#       minItems: 1
#       maxItems: 200
#       items: {type: string, minLength: 1, maxLength: 256}
#       form: folded
#       required: true
#       description: source addresses; a name, or a beginning followed by *. Without a host (hashicorp/aws) that of Terraform's and OpenTofu's public registries
#   example:
#     - effect: deny
#       sources: [hashicorp/aws, hashicorp/random, "registry.example.com/platform/*"]
package lockgate.rules.allowed_providers

import data.lockgate.changes
import data.lockgate.rulebook

most_shown := 20

facts[number] := {"providers": array.slice(sort(foreign), 0, most_shown), "providers_count": count(foreign)} if {
	some number, entry in rulebook.selected.allowed_providers
	foreign := {source | some source in used; not is_allowed(entry, source)}
	count(foreign) > 0
}

# Source addresses of everything that runs: by resource, by lock file, by provider block.
used contains lower(name) if some name in {change.provider_name | some change in input.plan.resource_changes}

used contains lower(split(line, " ")[0]) if some line in input.plan.providers

used contains lower(block.full_name) if some _, block in input.plan.configuration.provider_config

# What is in the engine itself is no program of its own.
is_allowed(_, source) if startswith(source, "terraform.io/builtin/")

is_allowed(entry, source) if changes.named(entry.sources, source)

is_allowed(entry, source) if {
	some host in ["registry.terraform.io/", "registry.opentofu.org/"]
	startswith(source, host)
	changes.named(entry.sources, trim_prefix(source, host))
}
