# METADATA
# title: Public storage
# description: The change would let everyone read or write stored objects, or leaves a bucket without the block against it.
# custom:
#   rule: public_bucket
#   severity: critical
#   why: Most leaks of data are a bucket that was public for a moment, or for years, and that nobody meant to be.
#   fix: Remove the public grant; give each bucket an aws_s3_bucket_public_access_block with all four settings true (Google, public_access_prevention = "enforced"; Azure, allow_nested_items_to_be_public = false).
#   cannot_see: >-
#     Objects that other programs make public, block settings of the account, signed addresses, and grants that `dynamic` blocks make of values not known yet. A bucket and its block are
#     matched inside one module, by the bucket's name or by the reference in the configuration; a block for a bucket of another module does not count.
#   parameters:
#     require_block:
#       type: boolean
#       default: true
#       description: a new bucket must come with its block (AWS), or with public access prevention (Google)
#     trusted_conditions:
#       type: array
#       maxItems: 100
#       items: {type: string, minLength: 1, maxLength: 128}
#       form: folded
#       default: []
#       description: condition keys that make a bucket policy for everyone narrow enough when tested by StringEquals or ArnEquals, such as aws:SourceVpce
#   example:
#     - effect: deny
#       exceptions:
#         - resources: ["module.website.*"]
#           until: 2027-06-30T00:00:00Z
#           reason: the public website, until it moves behind the CDN
package lockgate.rules.public_bucket

import data.lockgate.aws_policies
import data.lockgate.changes
import data.lockgate.companions
import data.lockgate.public_storage
import data.lockgate.rulebook

resources[number] contains changes.address(position) if {
	some number, _ in rulebook.selected.public_bucket
	some position in public_storage.open
}

resources[number] contains changes.address(position) if {
	some number, entry in rulebook.selected.public_bucket
	some position in aws_policies.with_text("bucket", aws_policies.open_to_everyone("bucket", entry.trusted_conditions.names))
}

resources[number] contains changes.address(position) if {
	some number, entry in rulebook.selected.public_bucket
	entry.require_block
	some position in companions.alone.aws_s3_bucket_public_access_block
}

resources[number] contains changes.address(position) if {
	some number, entry in rulebook.selected.public_bucket
	entry.require_block
	some position in public_storage.without_prevention
}

unknown[number] contains changes.address(position) if {
	some number, _ in rulebook.selected.public_bucket
	some position in public_storage.unreadable
}

unknown[number] contains changes.address(position) if {
	some number, entry in rulebook.selected.public_bucket
	entry.require_block
	some position in public_storage.perhaps_without_prevention
}

unknown[number] contains changes.address(position) if {
	some number, _ in rulebook.selected.public_bucket
	some position in aws_policies.unreadable.bucket
}
