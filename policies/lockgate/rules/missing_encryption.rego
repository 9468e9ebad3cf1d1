# METADATA
# title: Not encrypted
# description: The change would leave data unencrypted at rest, or let it travel in the clear, where the provider offers encryption.
# custom:
#   rule: missing_encryption
#   severity: high
#   why: A disk, a snapshot or a backup that gets into other hands can be read by them. Mostly it cannot be encrypted later without being made anew.
#   fix: Set the attributes that `demands` lists for these types (mostly one boolean) before the resource is made.
#   cannot_see: >-
#     Which key is used and who may use it, volumes that machines get from images and account settings, and types that `demands` does not list; Google Cloud and Azure disks
#     encrypt everything by themselves. S3 too has encrypted all new objects by itself since 2023, so that a bucket's own configuration is only
#     asked for where policy data lists it. Blocks that a provider fills in by itself pass where they are `where_set`, also if a `dynamic` block will make them.
#   parameters:
#     demands:
#       type: object
#       maxProperties: 1000
#       additionalProperties:
#         type: object
#         minProperties: 1
#         maxProperties: 32
#         propertyNames: {type: string, pattern: "^[a-z0-9_]+(\\.[a-z0-9_]+){0,3}$"}
#         additionalProperties:
#           type: array
#           minItems: 1
#           maxItems: 32
#           items: {type: string, minLength: 1, maxLength: 128}
#       form: folded_by_path
#       description: type → attribute (`block.attribute` inside blocks) → the values that will do, in any letters; `*` is any value at all
#       default:
#         aws_dax_cluster: {server_side_encryption.enabled: ["true"]}
#         aws_db_instance: {storage_encrypted: ["true"]}
#         aws_docdb_cluster: {storage_encrypted: ["true"]}
#         aws_ebs_snapshot_copy: {encrypted: ["true"]}
#         aws_ebs_volume: {encrypted: ["true"]}
#         aws_efs_file_system: {encrypted: ["true"]}
#         aws_elasticache_replication_group: {at_rest_encryption_enabled: ["true"], transit_encryption_enabled: ["true"]}
#         aws_elasticsearch_domain: {encrypt_at_rest.enabled: ["true"], node_to_node_encryption.enabled: ["true"]}
#         aws_instance: {root_block_device.encrypted: ["true"]}
#         aws_kinesis_stream: {encryption_type: [KMS]}
#         aws_launch_template: {block_device_mappings.ebs.encrypted: ["true"]}
#         aws_memorydb_cluster: {tls_enabled: ["true"]}
#         aws_neptune_cluster: {storage_encrypted: ["true"]}
#         aws_opensearch_domain: {encrypt_at_rest.enabled: ["true"], node_to_node_encryption.enabled: ["true"]}
#         aws_rds_cluster: {storage_encrypted: ["true"]}
#         aws_redshift_cluster: {encrypted: ["true"]}
#         aws_sns_topic: {kms_master_key_id: ["*"]}
#         aws_workspaces_workspace: {root_volume_encryption_enabled: ["true"], user_volume_encryption_enabled: ["true"]}
#         azurerm_linux_virtual_machine: {encryption_at_host_enabled: ["true"]}
#         azurerm_mssql_database: {transparent_data_encryption_enabled: ["true"]}
#         azurerm_windows_virtual_machine: {encryption_at_host_enabled: ["true"]}
#     where_set:
#       type: object
#       maxProperties: 1000
#       additionalProperties:
#         type: object
#         minProperties: 1
#         maxProperties: 32
#         propertyNames: {type: string, pattern: "^[a-z0-9_]+(\\.[a-z0-9_]+){0,3}$"}
#         additionalProperties:
#           type: array
#           minItems: 1
#           maxItems: 32
#           items: {type: string, minLength: 1, maxLength: 128}
#       form: folded_by_path
#       description: the same for attributes and blocks that may be left out
#       default:
#         aws_instance: {ebs_block_device.encrypted: ["true"]}
#         aws_launch_configuration: {ebs_block_device.encrypted: ["true"], root_block_device.encrypted: ["true"]}
#         aws_sqs_queue: {sqs_managed_sse_enabled: ["true"]}
#         azurerm_redis_cache: {non_ssl_port_enabled: ["false"]}
#         azurerm_storage_account: {https_traffic_only_enabled: ["true"], enable_https_traffic_only: ["true"]}
#         google_redis_instance: {transit_encryption_mode: [SERVER_AUTHENTICATION]}
#         google_sql_database_instance: {settings.ip_configuration.ssl_mode: [ENCRYPTED_ONLY, TRUSTED_CLIENT_CERTIFICATE_REQUIRED]}
#     require_bucket_configuration:
#       type: boolean
#       default: false
#       description: true asks for an aws_s3_bucket_server_side_encryption_configuration beside each new bucket
#   example:
#     - effect: deny
#       targets: {environments: [production]}
#     - effect: approve
#       unknown: approve
package lockgate.rules.missing_encryption

import data.lockgate.changes
import data.lockgate.companions
import data.lockgate.rulebook
import data.lockgate.settings
import data.lockgate.values

resources[number] contains changes.address(position) if {
	some [number, position, "missing"] in judged
}

unknown[number] contains changes.address(position) if {
	some [number, position, "unreadable"] in judged
}

resources[number] contains changes.address(position) if {
	some number, entry in rulebook.selected.missing_encryption
	entry.require_bucket_configuration
	some position in companions.alone.aws_s3_bucket_server_side_encryption_configuration
}

# [number, position, verdict] of what does not meet a demand.
judged contains [number, position, verdict] if {
	some number, entry in rulebook.selected.missing_encryption
	some type, positions in changes.standing
	some path, wanted in entry.demands[type]
	verdicts := on_demand(type, path, wanted)
	verdicts != {}
	some position in positions
	some pair in demanded(values.at(input.plan.resource_changes[position].change, path))
	verdict := verdicts[pair]
}

judged contains [number, position, verdict] if {
	some number, entry in rulebook.selected.missing_encryption
	some type, _ in changes.standing
	some path, wanted in entry.where_set[type]
	some [position, verdict] in settings.judged(type, path, where_set(type, path, wanted))
}

# Pairs at a path with their verdicts. Entries often want the same, and OPA remembers what a function said of a type, a path and what is wanted.
on_demand(type, path, wanted) := {pair: verdict |
	some top in settings.tops(type, split(path, ".")[0])
	some pair in demanded(values.within(top, path))
	verdict := meets_not(pair, wanted)
}

where_set(type, path, wanted) := {pair: verdict | some pair in settings.each(type, path); verdict := meets_not(pair, wanted)}

# A block that is not there does not meet a demand on what stands in it.
demanded(pairs) := pairs if {
	count(pairs) > 0
} else := [[null, false]]

meets_not(pair, wanted) := "unreadable" if {
	values.dark(pair)
} else := "missing" if {
	not meets(pair[0], wanted)
}

meets(value, wanted) if wanted[lower(value)]

meets(value, wanted) if {
	value == true
	wanted["true"]
}

meets(value, wanted) if {
	value == false
	wanted["false"]
}

meets(value, wanted) if {
	wanted["*"]
	not value in {null, "", false}
}
