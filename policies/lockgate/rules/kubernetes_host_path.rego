# METADATA
# title: Path of the node
# description: A pod or a volume would use a path of the node it runs on.
# custom:
#   rule: kubernetes_host_path
#   severity: high
#   why: A path of the node is shared with everything that runs there, its credentials and container sockets among it, and what is written there stays.
#   fix: Use a persistent volume claim, a config map or an empty directory instead.
#   cannot_see: Pods that a chart (helm_release), a text (kubectl_manifest) or a custom resource makes; the first two are unknown, the last passes. Links on the node.
#   parameters:
#     allowed:
#       type: array
#       maxItems: 100
#       items: {type: string, minLength: 1, maxLength: 1024, pattern: '^/[^*]*\*?$'}
#       form: patterns
#       description: Paths that may be used; a whole path, or a beginning followed by *. Write /var/log/* to mean what is below /var/log.
#       default: []
#   example:
#     - targets: {environments: [production]}
#       effect: deny
#       allowed: [/var/log/pods]
package lockgate.rules.kubernetes_host_path

import data.lockgate.changes
import data.lockgate.kubernetes
import data.lockgate.rulebook
import data.lockgate.values

resources[number] contains changes.address(position) if {
	some number, entry in rulebook.selected.kubernetes_host_path
	some position, volumes in used
	some volume in volumes
	not values.dark(volume)
	not is_allowed(entry, volume)
}

unknown[number] contains changes.address(position) if {
	some number, _ in rulebook.selected.kubernetes_host_path
	some position, volumes in used
	kubernetes.some_dark(array.concat(volumes, kubernetes.parts(volumes, ["path"])))
}

# Position → the paths of the node that are used there.
used[position] := kubernetes.parts(kubernetes.parts(pods, ["volume", "volumes"]), ["host_path", "hostPath"]) if some position, pods in kubernetes.pods

used[position] := of_volume(kubernetes.parts(specs, ["persistent_volume_source"])) if {
	some type in ["kubernetes_persistent_volume", "kubernetes_persistent_volume_v1"]
	some position in changes.standing[type]
	specs := kubernetes.parts([values.after(changes.at(position).change)], ["spec"])
}

used[position] := of_volume(kubernetes.parts([manifest], ["spec"])) if {
	some position, manifest in kubernetes.objects
	kubernetes.kind_of(manifest) == "PersistentVolume"
}

of_volume(pairs) := kubernetes.parts(pairs, ["host_path", "hostPath", "local"])

# A path that is not known yet is in the dark, and no fault.
is_allowed(_, volume) if kubernetes.some_dark(kubernetes.parts([volume], ["path"]))

is_allowed(entry, volume) if {
	[[path, _]] := kubernetes.parts([volume], ["path"])
	changes.named(entry.allowed, path)
	not ".." in split(path, "/")
}
