# METADATA
# title: Sandbox image not allowed
# description: The runner that asks for this runs its sandboxes in an image that is not allowed here; it waits for one that does not.
# custom:
#   rule: allowed_images
#   severity: high
#   why: The image holds the job and the tools. Whoever may change it may change what every plan says and every apply does.
#   fix: Nothing, if a runner with an allowed image serves this region; else ask an administrator to allow this image, or to run an allowed one.
#   cannot_see: >-
#     Whether the runner said the truth; its receipts state the image that its cluster says ran. A question that is asked before a runner asks for the work knows of no image, and
#     nothing is said of it; the same is asked again at the lease and at the start. A runner whose sandboxes have no image (bubblewrap) runs in none that is allowed.
#   questions: [request, apply]
#   parameters:
#     images:
#       type: array
#       minItems: 1
#       maxItems: 1000
#       items: {type: string, pattern: "^sha256:[0-9a-f]{64}$"}
#       form: set
#       required: true
#       description: digests of images that sandboxes may run, as `sha256:…`
#   example:
#     - targets: {environments: [production]}
#       effect: deny
#       images: ["sha256:1111111111111111111111111111111111111111111111111111111111111111"]
package lockgate.rules.allowed_images

import data.lockgate.rulebook

facts[number] := {"image": named, "waitable": true} if {
	some number, entry in rulebook.selected.allowed_images
	image := input.context.image
	not entry.images[image]
}

named := input.context.image if {
	is_string(input.context.image)
} else := "none"
