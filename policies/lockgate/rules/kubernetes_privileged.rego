# METADATA
# title: Privileged pod
# description: A pod would run with the rights of its node.
# custom:
#   rule: kubernetes_privileged
#   severity: critical
#   why: A privileged container, a namespace of the host or an added capability is a way out of the container, and from there to every pod and secret of the node.
#   fix: Take out privileged, the host's namespaces and added capabilities, or ask an administrator for an exception that ends.
#   cannot_see: Pods that a chart (helm_release), a text (kubectl_manifest) or a custom resource makes; the first two are unknown, the last passes. What an admission controller changes.
#   parameters:
#     capabilities:
#       type: array
#       maxItems: 64
#       items: {type: string, minLength: 1, maxLength: 64, pattern: '^[A-Z_]+$'}
#       form: set
#       description: Capabilities that may be added, without CAP_.
#       default: [AUDIT_WRITE, CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, MKNOD, NET_BIND_SERVICE, SETFCAP, SETGID, SETPCAP, SETUID, SYS_CHROOT]
#     escalation:
#       enum: [unless_true, only_false]
#       description: "allowPrivilegeEscalation passes unless it is true, or only if it is said to be false."
#       default: unless_true
#   example:
#     - targets: {environments: [production]}
#       effect: deny
#       unknown: approve
package lockgate.rules.kubernetes_privileged

import data.lockgate.changes
import data.lockgate.kubernetes
import data.lockgate.rulebook
import data.lockgate.values

resources[number] contains changes.address(position) if {
	some number, entry in rulebook.selected.kubernetes_privileged
	some position, pods in kubernetes.pods
	is_privileged(entry, pods)
}

unknown[number] contains changes.address(position) if {
	some number, _ in rulebook.selected.kubernetes_privileged
	some position, pods in kubernetes.pods
	kubernetes.some_dark(array.concat(switches(pods), array.concat(escalations(pods), added(pods))))
}

is_privileged(_, pods) if kubernetes.some_true(switches(pods))

is_privileged(_, pods) if kubernetes.some_true(escalations(pods))

is_privileged(entry, pods) if {
	entry.escalation == "only_false"
	some container in kubernetes.containers(pods)
	not values.dark(container)
	escalations_of([container]) == []
}

is_privileged(entry, pods) if {
	some [capability, mark] in added(pods)
	not values.dark([capability, mark])
	not entry.capabilities[trim_prefix(upper(capability), "CAP_")]
}

# What makes a pod privileged if it is true.
switches(pods) := array.concat(
	kubernetes.parts(pods, ["host_network", "host_pid", "host_ipc", "hostNetwork", "hostPID", "hostIPC"]),
	array.concat(
		kubernetes.parts(kubernetes.security(kubernetes.containers(pods)), ["privileged"]),
		kubernetes.parts(
			kubernetes.parts(
				array.concat(kubernetes.security(pods), kubernetes.security(kubernetes.containers(pods))),
				["windows_options", "windowsOptions"],
			),
			["host_process", "hostProcess"],
		),
	),
)

escalations(pods) := escalations_of(kubernetes.containers(pods))

escalations_of(containers) := kubernetes.parts(kubernetes.security(containers), ["allow_privilege_escalation", "allowPrivilegeEscalation"])

added(pods) := kubernetes.parts(kubernetes.parts(kubernetes.security(kubernetes.containers(pods)), ["capabilities"]), ["add"])
