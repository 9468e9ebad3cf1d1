# METADATA
# title: Deletes what holds data
# description: The change would delete, replace or forget resources that hold data.
# custom:
#   rule: stateful_delete
#   severity: critical
#   why: A plan deletes a disk as easily as a tag, and a replace is a delete with a new, empty thing after it. What was in it is gone.
#   fix: Make the change without deleting, replacing or forgetting these resources, or ask an administrator for an exception that ends.
#   cannot_see: What a provider deletes inside an update, and types that `types` does not name.
#   parameters:
#     types:
#       type: array
#       minItems: 1
#       maxItems: 1000
#       items: {type: string, minLength: 1, maxLength: 128}
#       form: patterns
#       description: resource types that hold data; a name, or a beginning followed by *
#       default:
#         - aws_backup_vault
#         - aws_cloudwatch_log_group
#         - aws_cognito_user_pool
#         - aws_ebs_snapshot
#         - aws_ebs_volume
#         - aws_ecr_repository
#         - aws_efs_file_system
#         - aws_fsx_*
#         - aws_glacier_vault
#         - aws_kinesis_stream
#         - aws_kms_key
#         - aws_kms_replica_key
#         - aws_mq_broker
#         - aws_msk_cluster
#         - aws_msk_serverless_cluster
#         - aws_s3_bucket
#         - aws_s3_directory_bucket
#         - aws_s3_object
#         - aws_s3tables_*
#         - aws_secretsmanager_secret
#         - aws_sqs_queue
#         - aws_ssm_parameter
#         - azurerm_app_configuration
#         - azurerm_container_registry
#         - azurerm_data_lake_store
#         - azurerm_eventhub
#         - azurerm_key_vault
#         - azurerm_key_vault_key
#         - azurerm_key_vault_secret
#         - azurerm_log_analytics_workspace
#         - azurerm_managed_disk
#         - azurerm_netapp_volume
#         - azurerm_recovery_services_vault
#         - azurerm_resource_group
#         - azurerm_servicebus_queue
#         - azurerm_servicebus_topic
#         - azurerm_snapshot
#         - azurerm_storage_*
#         - google_artifact_registry_repository
#         - google_compute_disk
#         - google_compute_region_disk
#         - google_compute_snapshot
#         - google_filestore_instance
#         - google_kms_crypto_key
#         - google_kms_key_ring
#         - google_project
#         - google_pubsub_subscription
#         - google_pubsub_topic
#         - google_secret_manager_secret
#         - google_storage_bucket
#         - google_storage_bucket_object
#         - kubernetes_persistent_volume*
#   example:
#     - targets: {environments: [production]}
#       effect: deny
#       exceptions:
#         - resources: ["module.scratch.*"]
#           until: 2027-01-31T18:00:00Z
#           reason: the scratch buckets go, see ticket 4711
package lockgate.rules.stateful_delete

import data.lockgate.changes
import data.lockgate.rulebook

resources[number] contains address if {
	some number, entry in rulebook.selected.stateful_delete
	some address in changes.gone_of(entry.types)
}
