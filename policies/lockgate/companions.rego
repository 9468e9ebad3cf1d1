# METADATA
# title: What belongs to a bucket
# description: Which new AWS buckets come with the resources that hold their settings.
package lockgate.companions

import data.lockgate.changes
import data.lockgate.configuration

# Type of the settings → positions of new buckets that come without. Bucket and settings are matched in one module, by the bucket's name or, as that is often not
# known yet, by what the configuration of the settings refers to.
alone[type] contains position if {
	some type in ["aws_s3_bucket_public_access_block", "aws_s3_bucket_server_side_encryption_configuration"]
	some position in changes.standing.aws_s3_bucket
	bucket := changes.at(position)
	"create" in bucket.change.actions
	not is_accompanied(bucket, type)
}

is_accompanied(bucket, type) if {
	some position in changes.standing[type]
	settings := changes.at(position)
	object.get(settings, "module_address", "") == object.get(bucket, "module_address", "")
	is_for(settings, bucket, type)
}

is_for(settings, bucket, _) if {
	is_string(bucket.change.after.bucket)
	settings.change.after.bucket == bucket.change.after.bucket
}

is_for(settings, bucket, type) if {
	referred[type][settings.name][concat(".", ["aws_s3_bucket", bucket.name])]
	object.get(bucket, "index", null) in {null, object.get(settings, "index", null)}
}

# Type and name of settings in the configuration → what they refer to for their bucket.
referred := referring

referring[resource.type][resource.name] contains reference if {
	some module in configuration.modules
	some resource in module.resources
	resource.expressions.bucket
	some expression in [resource.expressions.bucket, object.get(resource, "for_each_expression", {})]
	some reference in expression.references
}
