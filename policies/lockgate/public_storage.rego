# METADATA
# title: Public storage
# description: Buckets and containers of the plan that everyone could reach, and those that nothing keeps from it. Positions in the plan's changes.
package lockgate.public_storage

import data.lockgate.changes
import data.lockgate.configuration
import data.lockgate.google_iam
import data.lockgate.settings
import data.lockgate.values

open contains position if some [position, "open"] in said

unreadable contains position if some [position, "unreadable"] in said

# Type → path → how a value ends, in small letters, that lets everyone in.
opening := {
	"aws_s3_bucket": {"acl": acls, "grant.uri": groups},
	"aws_s3_bucket_acl": {"acl": acls, "access_control_policy.grant.grantee.uri": groups},
	"aws_s3_bucket_object": {"acl": acls},
	"aws_s3_object": {"acl": acls},
	"aws_s3_object_copy": {"acl": acls, "grant.uri": groups},
	"azurerm_storage_account": {"allow_blob_public_access": yes, "allow_nested_items_to_be_public": yes},
	"azurerm_storage_container": {"container_access_type": ["blob", "container"]},
	"google_storage_bucket_access_control": {"entity": everyone},
	"google_storage_bucket_acl": {"default_acl": google_acls, "predefined_acl": google_acls, "role_entity": everyone},
	"google_storage_default_object_access_control": {"entity": everyone},
	"google_storage_default_object_acl": {"role_entity": everyone},
	"google_storage_object_access_control": {"entity": everyone},
	"google_storage_object_acl": {"predefined_acl": google_acls, "role_entity": everyone},
}

acls := ["public-read", "public-read-write", "authenticated-read"]

groups := ["/allusers", "/authenticatedusers"]

google_acls := ["publicread", "publicreadwrite", "authenticatedread"]

everyone := ["allusers", "allauthenticatedusers"]

yes := ["true"]

# Types whose settings must all be true, and where they stand.
closing := {
	"aws_s3_account_public_access_block": "",
	"aws_s3_bucket_public_access_block": "",
	"aws_s3_access_point": "public_access_block_configuration.",
}

switches := ["block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets"]

# [position, verdict] of every value that opens something or cannot be read.
said contains [position, verdict] if {
	some type, _ in changes.standing
	some path, endings in opening[type]
	verdicts := {pair: verdict | some pair in settings.each(type, path); verdict := judged(pair, endings)}
	some [position, verdict] in settings.judged(type, path, verdicts)
}

said contains [position, verdict] if {
	some type, prefix in closing
	some position in changes.standing[type]
	change := changes.at(position)
	some setting in switches
	path := concat("", [prefix, setting])
	not configuration.is_providers_own(change, path)
	some pair in values.at(change.change, path)
	verdict := must_be_true(pair)
}

said contains [position, verdict] if {
	some type, words in google_iam.named
	startswith(type, "google_storage_")
	verdicts := {member: verdict | some member in words.members; verdict := judged([member, member == null], everyone)}
	verdicts != {}
	some [position, _, member] in google_iam.granted[type]
	verdict := verdicts[member]
}

judged(pair, endings) := "unreadable" if {
	values.dark(pair)
} else := "open" if {
	pair[0] == true
} else := "open" if {
	some ending in endings
	endswith(lower(pair[0]), ending)
}

must_be_true(pair) := "unreadable" if {
	values.dark(pair)
} else := "open" if {
	not values.is_true(pair[0])
}

# Google buckets without public access prevention, and those of which it is not known.
without_prevention contains position if {
	some [position, "open"] in google_prevention
}

perhaps_without_prevention contains position if {
	some [position, "unreadable"] in google_prevention
}

google_prevention contains [position, verdict] if {
	some position in changes.standing.google_storage_bucket
	verdict := prevention(changes.at(position))
}

prevention(change) := "open" if {
	change.change.after_unknown.public_access_prevention == true
	not configuration.gives(change, "public_access_prevention")
} else := "unreadable" if {
	some pair in values.at(change.change, "public_access_prevention")
	values.dark(pair)
} else := "open" if {
	some pair in values.at(change.change, "public_access_prevention")
	not is_enforced(pair)
}

is_enforced(pair) if lower(pair[0]) == "enforced"
