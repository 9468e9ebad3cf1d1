# public_bucket and missing_encryption: who can read what is stored.
package lockgate.storage_test

import data.lockgate.asked_test as asked
import data.lockgate.rulebook

strict := {"require_block": true, "trusted_conditions": {"names": {"aws:sourcevpce": true}, "prefixes": []}}

open_to(principal, condition) := json.marshal({"Statement": object.union(
	{"Effect": "Allow", "Principal": principal, "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"},
	condition,
)})

blocking(changes) := asked.with_parts(
	{"block_public_acls": true, "block_public_policy": true, "ignore_public_acls": true, "restrict_public_buckets": true},
	changes,
)

test_what_opens_a_bucket if {
	every change in [
		asked.updated("aws_s3_bucket.b", {"acl": "public-read"}), asked.created("module.m.aws_s3_bucket_acl.a", {"acl": "Public-Read-Write"}),
		asked.created("aws_s3_bucket_acl.a[0]", {"acl": "authenticated-read"}), asked.created("aws_s3_object.o", {"acl": "public-read"}),
		asked.created("aws_s3_bucket_acl.a", {"access_control_policy": [{"grant": [{"grantee": [{"uri": "http://acs.amazonaws.com/groups/global/AllUsers"}]}]}]}),
		asked.created("aws_s3_bucket_public_access_block.p", blocking({"block_public_policy": false})),
		asked.created("aws_s3_bucket_public_access_block.p", object.remove(blocking({}), ["ignore_public_acls"])),
		asked.updated("aws_s3_account_public_access_block.p", blocking({"block_public_acls": null})),
		asked.created("aws_s3_access_point.a", {"public_access_block_configuration": [blocking({"restrict_public_buckets": false})]}),
		asked.created("aws_s3_bucket_policy.p", {"policy": open_to("*", {})}), asked.created("aws_s3_bucket_policy.p", {"policy": open_to({"AWS": ["*"]}, {})}),
		asked.created("aws_s3_bucket_policy.p", {"policy": open_to("*", {"Condition": {"Bool": {"aws:SecureTransport": "true"}}})}),
		asked.created("google_storage_bucket_iam_member.m", {"role": "roles/storage.objectViewer", "member": "allUsers"}),
		asked.created("google_storage_bucket_iam_binding.b", {"role": "roles/x", "members": ["allAuthenticatedUsers"]}),
		asked.created("google_storage_bucket_iam_policy.p", {"policy_data": json.marshal({"bindings": [{"role": "roles/x", "members": ["allUsers"]}]})}),
		asked.created("google_storage_bucket_acl.a", {"role_entity": ["OWNER:user-a", "READER:allUsers"]}),
		asked.created("google_storage_default_object_access_control.c", {"entity": "allUsers"}),
		asked.created("google_storage_object_acl.a", {"predefined_acl": "publicRead"}),
		asked.updated("google_storage_bucket.b", {"public_access_prevention": "inherited"}),
		asked.created("azurerm_storage_account.a", {"allow_nested_items_to_be_public": true}),
		asked.created("azurerm_storage_container.c", {"container_access_type": "Blob"}),
	] {
		asked.denied("public_bucket", strict, [change]) == {change.address}
		asked.unknown("public_bucket", strict, [change]) == set()
	}
}

test_what_keeps_a_bucket_closed if {
	every change in [
		asked.updated("aws_s3_bucket.b", {"acl": "private", "grant": []}), asked.created("aws_s3_bucket_acl.a", {"acl": "log-delivery-write"}),
		asked.created("aws_s3_bucket_public_access_block.p", blocking({})), asked.created("aws_s3_bucket_public_access_block.p", blocking({"block_public_acls": "true"})),
		asked.created("aws_s3_access_point.a", {}), asked.created("aws_s3_bucket_policy.p", {"policy": open_to({"AWS": "arn:aws:iam::1:root"}, {})}),
		asked.created("aws_s3_bucket_policy.p", {"policy": open_to("*", {"Condition": {"StringEquals": {"aws:SourceVpce": "vpce-1"}}})}),
		asked.created("google_storage_bucket_iam_member.m", {"role": "roles/storage.objectViewer", "member": "user:a@example.com"}),
		asked.created("google_storage_bucket.b", {"public_access_prevention": "enforced"}),
		asked.created("azurerm_storage_account.a", {"allow_nested_items_to_be_public": false}),
		asked.created("azurerm_storage_container.c", {"container_access_type": "private"}),
	] {
		asked.denied("public_bucket", strict, [change]) == set()
	}
}

test_what_cannot_be_read_of_a_bucket_does_not_pass if {
	every change in [
		asked.later("aws_s3_bucket_policy.p", {}, {"policy": true}), asked.created("aws_s3_bucket_policy.p", {"policy": "hmac-sha256:00"}),
		asked.later("aws_s3_bucket_acl.a", {}, {"acl": true}), asked.later("aws_s3_bucket_public_access_block.p", blocking({}), {"block_public_acls": true}),
		asked.later("google_storage_bucket_iam_member.m", {"role": "roles/x"}, {"member": true}), asked.later("google_storage_bucket.b", {}, {"public_access_prevention": true}),
		asked.later("azurerm_storage_account.a", {}, {"allow_nested_items_to_be_public": true}),
	] {
		asked.unknown("public_bucket", strict, [change]) == {change.address}
	}
}

# A bucket and its block

block_for(reference, module) := {
	"resource_changes": [
		{"address": "b", "module_address": "module.m", "mode": "managed", "type": "aws_s3_bucket", "name": "this", "change": {"actions": ["create"], "after": {}}},
		{
			"address": "p", "module_address": module, "mode": "managed", "type": "aws_s3_bucket_public_access_block", "name": "that",
			"change": {"actions": ["create"], "after": blocking({}), "after_unknown": {"bucket": true}},
		},
	],
	"configuration": {"root_module": {"module_calls": {"m": {"module": {"resources": [{
		"type": "aws_s3_bucket_public_access_block", "name": "that", "expressions": {"bucket": {"references": [reference]}},
	}]}}}}},
}

alone(plan) := object.get(found, ["public_bucket", 0, "resources"], []) if {
	found := rulebook.denied with input as asked.question_of(plan) with data.lockgate.parameters as {"rules": {"plan": {"public_bucket": [asked.deny(strict)]}}}
}

test_a_new_bucket_comes_with_its_own_block if {
	alone(block_for("aws_s3_bucket.this", "module.m")) == []
	alone(block_for("aws_s3_bucket.other", "module.m")) == ["b"]
	alone(block_for("aws_s3_bucket.this", "module.n")) == ["b"]
	named := [asked.created("aws_s3_bucket.b", {"bucket": "logs"}), asked.created("aws_s3_bucket_public_access_block.p", blocking({"bucket": "logs"}))]
	asked.denied("public_bucket", strict, named) == set()
	asked.denied("public_bucket", strict, [asked.created("aws_s3_bucket.b", {"bucket": "logs"})]) == {"aws_s3_bucket.b"}
	asked.denied("public_bucket", strict, [asked.updated("aws_s3_bucket.b", {"bucket": "logs"})]) == set()
	lenient := asked.with_parts(strict, {"require_block": false})
	asked.denied("public_bucket", lenient, [asked.created("aws_s3_bucket.b", {"bucket": "logs"})]) == set()
}

# Encryption

encrypted := {
	"demands": {
		"aws_ebs_volume": {"encrypted": {"true": true}}, "aws_opensearch_domain": {"encrypt_at_rest.enabled": {"true": true}},
		"aws_instance": {"root_block_device.encrypted": {"true": true}}, "aws_sns_topic": {"kms_master_key_id": {"*": true}},
		"aws_launch_template": {"block_device_mappings.ebs.encrypted": {"true": true}}, "aws_kinesis_stream": {"encryption_type": {"kms": true}},
	},
	"where_set": {"aws_instance": {"ebs_block_device.encrypted": {"true": true}}, "azurerm_redis_cache": {"non_ssl_port_enabled": {"false": true}}},
	"require_bucket_configuration": false,
}

test_what_is_not_encrypted if {
	every change in [
		asked.created("aws_ebs_volume.v", {"encrypted": false}), asked.created("aws_ebs_volume.v", {"encrypted": null}), asked.created("aws_ebs_volume.v", {}),
		asked.created("module.m[0].aws_opensearch_domain.d", {"encrypt_at_rest": []}), asked.created("aws_opensearch_domain.d", {"encrypt_at_rest": [{"enabled": false}]}),
		asked.created("aws_instance.i", {"root_block_device": [{"encrypted": false}]}), asked.created("aws_instance.i", {"root_block_device": [{"encrypted": true}], "ebs_block_device": [{"encrypted": true}, {"encrypted": false}]}),
		asked.created("aws_sns_topic.t", {"kms_master_key_id": ""}), asked.created("aws_kinesis_stream.s", {"encryption_type": "NONE"}),
		asked.created("aws_launch_template.t", {"block_device_mappings": [{"ebs": [{"encrypted": "true"}]}, {"ebs": [{"encrypted": "false"}]}]}),
		asked.created("azurerm_redis_cache.c", {"non_ssl_port_enabled": true}),
	] {
		asked.denied("missing_encryption", encrypted, [change]) == {change.address}
		asked.unknown("missing_encryption", encrypted, [change]) == set()
	}
}

test_what_is_encrypted if {
	every change in [
		asked.created("aws_ebs_volume.v", {"encrypted": true}), asked.created("aws_ebs_volume.v", {"encrypted": "true"}),
		asked.created("aws_opensearch_domain.d", {"encrypt_at_rest": [{"enabled": true}]}), asked.created("aws_instance.i", {"root_block_device": [{"encrypted": true}]}),
		asked.created("aws_sns_topic.t", {"kms_master_key_id": "alias/aws/sns"}), asked.created("aws_kinesis_stream.s", {"encryption_type": "KMS"}),
		asked.created("azurerm_redis_cache.c", {"non_ssl_port_enabled": false}), asked.removed("aws_ebs_volume.v"), asked.created("aws_vpc.v", {}),
	] {
		asked.denied("missing_encryption", encrypted, [change]) == set()
	}
}

test_what_may_be_encrypted_or_not_does_not_pass if {
	every change in [
		asked.later("aws_ebs_volume.v", {}, {"encrypted": true}), asked.created("aws_ebs_volume.v", {"encrypted": "hmac-sha256:00"}),
		asked.later("aws_instance.i", {}, {"root_block_device": true}), asked.later("aws_instance.i", {"root_block_device": [{}]}, {"root_block_device": [{"encrypted": true}]}),
		asked.later("aws_sns_topic.t", {}, {"kms_master_key_id": true}), asked.created("aws_ebs_volume.v", "hmac-sha256:00"),
	] {
		asked.unknown("missing_encryption", encrypted, [change]) == {change.address}
	}
}

test_a_bucket_may_be_asked_for_its_own_configuration if {
	asking := asked.with_parts(encrypted, {"require_bucket_configuration": true})
	bucket := asked.created("aws_s3_bucket.b", {"bucket": "logs"})
	asked.denied("missing_encryption", encrypted, [bucket]) == set()
	asked.denied("missing_encryption", asking, [bucket]) == {"aws_s3_bucket.b"}
	asked.denied("missing_encryption", asking, [bucket, asked.created("aws_s3_bucket_server_side_encryption_configuration.c", {"bucket": "logs"})]) == set()
}
