# METADATA
# title: Deletes a database
# description: The change would delete, replace or forget databases or what is in them.
# custom:
#   rule: database_delete
#   severity: critical
#   why: A database is what the rest can be built again around. It deserves a rule of its own, stricter than that for other things that hold data.
#   fix: Make the change without deleting, replacing or forgetting the database. To retire it, ask an administrator for an exception that ends.
#   cannot_see: Tables that a provider drops inside an update, databases inside servers that the plan does not manage, and types that `types` does not name.
#   parameters:
#     types:
#       type: array
#       minItems: 1
#       maxItems: 1000
#       items: {type: string, minLength: 1, maxLength: 128}
#       form: patterns
#       description: resource types that are databases; a name, or a beginning followed by *
#       default:
#         - aws_db_cluster_snapshot
#         - aws_db_instance
#         - aws_db_snapshot
#         - aws_docdb_*
#         - aws_dsql_cluster
#         - aws_dynamodb_global_table
#         - aws_dynamodb_table
#         - aws_elasticache_cluster
#         - aws_elasticache_replication_group
#         - aws_elasticache_serverless_cache
#         - aws_elasticsearch_domain
#         - aws_keyspaces_*
#         - aws_lightsail_database
#         - aws_memorydb_*
#         - aws_neptune_*
#         - aws_opensearch_domain
#         - aws_opensearchserverless_collection
#         - aws_qldb_ledger
#         - aws_rds_*
#         - aws_redshift_cluster
#         - aws_redshiftserverless_namespace
#         - aws_timestream*
#         - azurerm_cosmosdb_*
#         - azurerm_kusto_*
#         - azurerm_managed_redis
#         - azurerm_mariadb_*
#         - azurerm_mongo_cluster
#         - azurerm_mssql_*
#         - azurerm_mysql_*
#         - azurerm_postgresql_*
#         - azurerm_redis_*
#         - azurerm_sql_*
#         - azurerm_synapse_*
#         - google_alloydb_*
#         - google_bigquery_dataset
#         - google_bigquery_table
#         - google_bigtable_*
#         - google_datastore_*
#         - google_firestore_*
#         - google_memorystore_instance
#         - google_redis_*
#         - google_spanner_*
#         - google_sql_*
#         - mongodbatlas_*
#         - mysql_database
#         - postgresql_database
#         - postgresql_schema
#   example:
#     - effect: deny
#       targets: {environments: [production]}
#     - effect: approve
#       require: {count: 2, groups: [security], expires_in_seconds: 7200}
package lockgate.rules.database_delete

import data.lockgate.changes
import data.lockgate.rulebook

resources[number] contains address if {
	some number, entry in rulebook.selected.database_delete
	some address in changes.gone_of(entry.types)
}
