# METADATA
# title: Machine size not allowed
# description: The change would make machines or databases of a size that is not allowed here.
# custom:
#   rule: allowed_instance_types
#   severity: medium
#   why: One wrong letter in a size can cost more in a day than the service in a year.
#   fix: Choose one of the sizes that are allowed here, or ask an administrator to allow this one.
#   cannot_see: How many machines a group will grow to, sizes that a launch template describes by requirements, and types that `attributes` does not list.
#   parameters:
#     allowed:
#       type: array
#       minItems: 1
#       maxItems: 1000
#       items: {type: string, minLength: 1, maxLength: 128}
#       form: folded
#       required: true
#       description: sizes in any letters; a name, or a beginning followed by *. Of an address the last part counts
#     attributes:
#       type: object
#       minProperties: 1
#       maxProperties: 1000
#       additionalProperties:
#         type: array
#         minItems: 1
#         maxItems: 32
#         items: {type: string, pattern: "^[a-z0-9_]+(\\.[a-z0-9_]+){0,3}$"}
#       description: type → attributes (`block.attribute` inside blocks) that hold a size
#       default:
#         aws_autoscaling_group: [mixed_instances_policy.launch_template.override.instance_type]
#         aws_db_instance: [instance_class]
#         aws_docdb_cluster_instance: [instance_class]
#         aws_ec2_capacity_reservation: [instance_type]
#         aws_ec2_fleet: [launch_template_config.override.instance_type]
#         aws_eks_node_group: [instance_types]
#         aws_elasticache_cluster: [node_type]
#         aws_elasticache_replication_group: [node_type]
#         aws_elasticsearch_domain: [cluster_config.instance_type]
#         aws_instance: [instance_type]
#         aws_launch_configuration: [instance_type]
#         aws_launch_template: [instance_type]
#         aws_memorydb_cluster: [node_type]
#         aws_mq_broker: [host_instance_type]
#         aws_msk_cluster: [broker_node_group_info.instance_type]
#         aws_neptune_cluster_instance: [instance_class]
#         aws_opensearch_domain: [cluster_config.instance_type]
#         aws_rds_cluster_instance: [instance_class]
#         aws_redshift_cluster: [node_type]
#         aws_sagemaker_notebook_instance: [instance_type]
#         aws_spot_instance_request: [instance_type]
#         azurerm_kubernetes_cluster: [default_node_pool.vm_size]
#         azurerm_kubernetes_cluster_node_pool: [vm_size]
#         azurerm_linux_virtual_machine: [size]
#         azurerm_linux_virtual_machine_scale_set: [sku]
#         azurerm_mssql_database: [sku_name]
#         azurerm_mysql_flexible_server: [sku_name]
#         azurerm_postgresql_flexible_server: [sku_name]
#         azurerm_virtual_machine: [vm_size]
#         azurerm_windows_virtual_machine: [size]
#         azurerm_windows_virtual_machine_scale_set: [sku]
#         google_compute_instance: [machine_type]
#         google_compute_instance_template: [machine_type]
#         google_compute_region_instance_template: [machine_type]
#         google_container_cluster: [node_config.machine_type]
#         google_container_node_pool: [node_config.machine_type]
#         google_notebooks_instance: [machine_type]
#         google_sql_database_instance: [settings.tier]
#   example:
#     - targets: {environments: [dev, staging]}
#       effect: deny
#       allowed: ["t3.*", "t4g.*", "db.t3.*", "db.t4g.*", "cache.t4g.*", "e2-*", "db-f1-micro", "Standard_B*"]
#     - targets: {environments: [production]}
#       effect: approve
#       allowed: ["m7*", "db.m7*", "n2-*", "Standard_D*"]
package lockgate.rules.allowed_instance_types

import data.lockgate.changes
import data.lockgate.rulebook
import data.lockgate.settings
import data.lockgate.values

resources[number] contains changes.address(position) if some [number, position, "foreign"] in judged

unknown[number] contains changes.address(position) if some [number, position, "unreadable"] in judged

judged contains [number, position, verdict] if {
	some number, entry in rulebook.selected.allowed_instance_types
	some type, _ in changes.standing
	some path in entry.attributes[type]
	verdicts := {pair: verdict | some pair in settings.each(type, path); verdict := judgement(entry, size(pair))}
	some [position, verdict] in settings.judged(type, path, verdicts)
}

judgement(_, null) := "unreadable"

judgement(entry, name) := "foreign" if {
	name != null
	not changes.named(entry.allowed, name)
}

# In small letters, null where it cannot be read.
size(pair) := null if {
	values.dark(pair)
} else := lower(parts[count(parts) - 1]) if {
	parts := split(pair[0], "/")
} else := null
