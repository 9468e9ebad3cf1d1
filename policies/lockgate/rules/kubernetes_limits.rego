# METADATA
# title: Container without limits
# description: A container would run without the limits or requests that are asked for here.
# custom:
#   rule: kubernetes_limits
#   severity: medium
#   why: One container without a limit can starve every other on its node; without a request the scheduler cannot know.
#   fix: Give every container and init container the named limits and requests.
#   cannot_see: Pods that a chart (helm_release), a text (kubectl_manifest) or a custom resource makes; the first two are unknown, the last passes. What a LimitRange of the namespace fills in.
#   parameters:
#     limits:
#       type: array
#       maxItems: 16
#       uniqueItems: true
#       items: {type: string, minLength: 1, maxLength: 128}
#       description: Resources that must have a limit.
#       default: [memory]
#     requests:
#       type: array
#       maxItems: 16
#       uniqueItems: true
#       items: {type: string, minLength: 1, maxLength: 128}
#       description: Resources that must have a request.
#       default: [cpu, memory]
#   example:
#     - targets: {environments: [production]}
#       effect: deny
#       limits: [memory]
#       requests: [cpu, memory]
package lockgate.rules.kubernetes_limits

import data.lockgate.changes
import data.lockgate.kubernetes
import data.lockgate.rulebook

resources[number] contains changes.address(position) if {
	some number, entry in rulebook.selected.kubernetes_limits
	some position, pods in kubernetes.pods
	some container in kubernetes.sized_containers(pods)
	some amounts in asked(entry, container)
	not is_said(amounts)
}

unknown[number] contains changes.address(position) if {
	some number, entry in rulebook.selected.kubernetes_limits
	some position, pods in kubernetes.pods
	some container in kubernetes.sized_containers(pods)
	some amounts in asked(entry, container)
	kubernetes.some_dark(amounts)
}

# For every resource that is asked for: what the container says of it.
asked(entry, container) := array.concat(
	[amounts(container, "limits", resource) | some resource in entry.limits],
	[amounts(container, "requests", resource) | some resource in entry.requests],
)

amounts(container, part, resource) := kubernetes.parts(kubernetes.parts(kubernetes.parts([container], ["resources"]), [part]), [resource])

# Also what is not known yet: it is in the dark, and no fault. None of anything is no limit.
is_said(amounts) if {
	some [amount, mark] in amounts
	not is_none(amount, mark)
}

is_none(amount, false) if amount == 0

is_none(amount, false) if {
	is_string(amount)
	regex.match(`^[+-]?[0.]*([A-Za-z]*|[eE][+-]?[0-9]+)$`, amount) # a quantity may have a sign and an exponent: 0e3
}

# Neither a text nor a number is no amount.
is_none(amount, false) if {
	not is_string(amount)
	not is_number(amount)
}
