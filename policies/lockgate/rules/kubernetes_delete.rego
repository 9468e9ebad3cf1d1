# METADATA
# title: Deletes what holds others
# description: The change would delete a namespace, a volume, a definition, or a set that takes its volumes with it.
# custom:
#   rule: kubernetes_delete
#   severity: critical
#   why: With a namespace goes everything in it, with a definition every object of its kind, with a claim its data; one line in a plan, and nothing to undo it with.
#   fix: Delete what stands inside first, in changes of its own, or ask an administrator for an exception that ends.
#   cannot_see: What a chart (helm_release) or a text (kubectl_manifest) holds, which is unknown; what a volume's reclaim policy keeps.
#   parameters:
#     kinds:
#       type: array
#       minItems: 1
#       maxItems: 100
#       uniqueItems: true
#       items: {type: string, minLength: 1, maxLength: 128}
#       form: set
#       description: Kinds whose deletion is a fault. A StatefulSet is one also if its claims are deleted with it.
#       default: [Namespace, PersistentVolumeClaim, PersistentVolume, CustomResourceDefinition]
#   example:
#     - targets: {environments: [production]}
#       effect: deny
package lockgate.rules.kubernetes_delete

import data.lockgate.changes
import data.lockgate.kubernetes
import data.lockgate.rulebook

types := {
	"kubernetes_namespace": "Namespace", "kubernetes_namespace_v1": "Namespace",
	"kubernetes_persistent_volume_claim": "PersistentVolumeClaim", "kubernetes_persistent_volume_claim_v1": "PersistentVolumeClaim",
	"kubernetes_persistent_volume": "PersistentVolume", "kubernetes_persistent_volume_v1": "PersistentVolume",
	"kubernetes_secret": "Secret", "kubernetes_secret_v1": "Secret",
	"kubernetes_config_map": "ConfigMap", "kubernetes_config_map_v1": "ConfigMap",
	"kubernetes_service": "Service", "kubernetes_service_v1": "Service",
	"kubernetes_storage_class": "StorageClass", "kubernetes_storage_class_v1": "StorageClass",
}

kind_of(type) := kubernetes.typed[type]

kind_of(type) := types[type]

resources[number] contains changes.address(position) if {
	some number, entry in rulebook.selected.kubernetes_delete
	some type, positions in changes.gone
	entry.kinds[kind_of(type)]
	some position in positions
}

resources[number] contains changes.address(position) if {
	some number, _ in rulebook.selected.kubernetes_delete
	some type, positions in changes.gone
	kind_of(type) == "StatefulSet"
	some position in positions
	takes_its_claims([changes.at(position).change.before, false])
}

resources[number] contains changes.address(position) if {
	some number, entry in rulebook.selected.kubernetes_delete
	some position, manifest in kubernetes.lost
	entry.kinds[kubernetes.kind_of(manifest)]
}

resources[number] contains changes.address(position) if {
	some number, _ in rulebook.selected.kubernetes_delete
	some position, manifest in kubernetes.lost
	kubernetes.kind_of(manifest) == "StatefulSet"
	takes_its_claims(manifest)
}

unknown[number] contains changes.address(position) if {
	some number, _ in rulebook.selected.kubernetes_delete
	some type in kubernetes.opaque
	some position in changes.gone[type]
}

unknown[number] contains changes.address(position) if {
	some number, _ in rulebook.selected.kubernetes_delete
	some position, manifest in kubernetes.lost
	not kubernetes.is_plain(manifest)
}

takes_its_claims(whole) if {
	some [policy, _] in kubernetes.parts(retention(whole), ["when_deleted", "whenDeleted"])
	not policy == "Retain"
}

retention(whole) := kubernetes.parts(
	kubernetes.parts([whole], ["spec"]),
	["persistent_volume_claim_retention_policy", "persistentVolumeClaimRetentionPolicy"],
)
