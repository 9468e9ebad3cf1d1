# METADATA
# title: Kubernetes in a plan
# description: The pods that would stand, from Terraform's typed resources and from manifests, as pairs of a value and its mark (values.rego).
package lockgate.kubernetes

import data.lockgate.changes
import data.lockgate.values

# Terraform's own types with pods in them. Blocks are lists there.
typed := {
	"kubernetes_pod": "Pod", "kubernetes_pod_v1": "Pod",
	"kubernetes_deployment": "Deployment", "kubernetes_deployment_v1": "Deployment",
	"kubernetes_stateful_set": "StatefulSet", "kubernetes_stateful_set_v1": "StatefulSet",
	"kubernetes_daemonset": "DaemonSet", "kubernetes_daemon_set_v1": "DaemonSet",
	"kubernetes_replication_controller": "ReplicationController", "kubernetes_replication_controller_v1": "ReplicationController",
	"kubernetes_job": "Job", "kubernetes_job_v1": "Job",
	"kubernetes_cron_job": "CronJob", "kubernetes_cron_job_v1": "CronJob",
}

template := ["spec", "template", "spec"]

paths := {
	"Pod": ["spec"], "Deployment": template, "StatefulSet": template, "DaemonSet": template, "ReplicaSet": template,
	"ReplicationController": template, "Job": template, "PodTemplate": ["template", "spec"],
	"CronJob": ["spec", "jobTemplate", "spec", "template", "spec"],
}

# What holds objects that the plan does not show: a chart, or text.
opaque := {"helm_release", "kubectl_manifest", "kustomization_resource"}

manifests := {"kubernetes_manifest"}

# Position → the pod that would stand there; a pod that cannot be seen is a dark one.
pods[position] := found if {
	some type, positions in changes.standing
	path := paths[typed[type]]
	some position in positions
	found := follow([values.after(changes.at(position).change)], path)
}

pods[position] := found if {
	some position, manifest in objects
	some kind, path in paths
	kind_of(manifest) == kind
	found := follow([manifest], path)
}

pods[position] := [[null, true]] if {
	some position, manifest in objects
	not is_plain(manifest)
}

pods[position] := [[null, true]] if {
	some type in opaque
	some position in changes.standing[type]
}

# Position → the manifest that would stand there.
objects[position] := manifest(values.after(changes.at(position).change)) if {
	some type in manifests
	some position in changes.standing[type]
}

# What is left of a manifest that would be gone.
lost[position] := manifest([changes.at(position).change.before, false]) if {
	some type in manifests
	some position in changes.gone[type]
}

# Terraform has it below `manifest`; a driver of plain objects has the object itself.
manifest(whole) := inner if {
	[inner] := values.below([whole], "manifest")
	not is_absent(inner)
} else := whole

is_absent([value, mark]) if {
	value == null
	mark == false
}

kind_of(pair) := kind if {
	[[kind, mark]] := values.below([pair], "kind")
	not values.dark([kind, mark])
	is_string(kind)
}

# A list of objects, or one whose kind is not known, may hold any pod.
is_plain(pair) if {
	kind := kind_of(pair)
	not endswith(kind, "List")
}

follow(pairs, path) := step(step(step(step(step(pairs, path, 0), path, 1), path, 2), path, 3), path, 4)

step(pairs, path, number) := pairs if number >= count(path)

step(pairs, path, number) := parts(pairs, [path[number], snake(path[number])]) if number < count(path)

snake(name) := "job_template" if name == "jobTemplate"

snake(name) := name if name != "jobTemplate"

# What stands under any of the names, one by one through every list; a null or absent one is none.
parts(pairs, names) := [pair |
	some name in {name | some name in names}
	some whole in values.below(pairs, name)
	some pair in values.spread(whole)
]

containers(pods) := parts(pods, ["container", "init_container", "containers", "initContainers", "ephemeralContainers"])

# Ephemeral containers can have no resources.
sized_containers(pods) := parts(pods, ["container", "init_container", "containers", "initContainers"])

security(pairs) := parts(pairs, ["security_context", "securityContext"])

some_true(pairs) if {
	some [value, _] in pairs
	values.is_true(value)
}

some_dark(pairs) if {
	some pair in pairs
	values.dark(pair)
}
