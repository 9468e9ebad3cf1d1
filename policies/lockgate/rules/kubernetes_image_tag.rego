# METADATA
# title: Image that may change
# description: A container's image is named by a tag that moves, or by none.
# custom:
#   rule: kubernetes_image_tag
#   severity: medium
#   why: What runs then is whatever the tag points to on the day a pod starts, on each node another, and nobody approved it.
#   fix: Name the image by its digest, or by a tag that never moves.
#   cannot_see: Pods that a chart (helm_release), a text (kubectl_manifest) or a custom resource makes; the first two are unknown, the last passes. Whether a tag moves.
#   parameters:
#     tags:
#       type: array
#       minItems: 1
#       maxItems: 100
#       items: {type: string, minLength: 1, maxLength: 128, pattern: '^[^*]*\*?$'}
#       form: patterns
#       description: Tags that move; a tag, or a beginning followed by *. An image without a tag is latest.
#       default: [latest]
#     digests:
#       type: boolean
#       description: "true: only images with a digest pass."
#       default: false
#   example:
#     - effect: deny
#       tags: [latest, main, "dev*"]
package lockgate.rules.kubernetes_image_tag

import data.lockgate.changes
import data.lockgate.kubernetes
import data.lockgate.rulebook
import data.lockgate.values

resources[number] contains changes.address(position) if {
	some number, entry in rulebook.selected.kubernetes_image_tag
	some position, pods in kubernetes.pods
	some container in kubernetes.containers(pods)
	not passes(entry, kubernetes.parts([container], ["image"]))
}

unknown[number] contains changes.address(position) if {
	some number, _ in rulebook.selected.kubernetes_image_tag
	some position, pods in kubernetes.pods
	kubernetes.some_dark(kubernetes.parts(kubernetes.containers(pods), ["image"]))
}

passes(_, images) if kubernetes.some_dark(images)

passes(_, [[image, mark]]) if {
	not values.dark([image, mark])
	regex.match(`@[a-z0-9]+([+._-][a-z0-9]+)*:[0-9a-fA-F]{32,}$`, image)
}

passes(entry, [[image, mark]]) if {
	not values.dark([image, mark])
	not entry.digests
	not contains(image, "@")
	tag := tag_of(image)
	tag != ""
	not changes.named(entry.tags, tag)
}

# A colon before the last slash is a registry's port.
tag_of(image) := tag if {
	[_, tag] := split(last(image), ":")
} else := "latest" if not contains(last(image), ":")

last(image) := parts[count(parts) - 1] if parts := split(image, "/")
