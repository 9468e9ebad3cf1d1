# METADATA
# title: Deletes what holds data
# description: The change would delete, replace or forget resources that hold data.
# custom:
#   rule: stateful_delete
#   severity: critical
#   why: A plan deletes a database as easily as a tag, and a replace is a delete with a new, empty thing after it. What was in it is gone.
#   fix: Make the change without deleting or replacing these resources, or ask an administrator for an exception that ends.
#   cannot_see: What a provider deletes inside an update, and types that `types` and `prefixes` do not name.
#   questions: [plan, apply]
#   parameters:
#     types:
#       type: array
#       maxItems: 1000
#       items: {type: string, minLength: 1, maxLength: 128}
#       form: patterns
#       description: Resource types that hold data; a name, or a beginning followed by *.
#       default: [aws_db_instance]
#   example:
#     - targets: {environments: [production]}
#       effect: deny
package lockgate.rules.stateful_delete

import data.lockgate.changes
import data.lockgate.rulebook

resources[number] contains changes.address(position) if {
	some number, entry in rulebook.selected.stateful_delete
	some type, positions in changes.gone
	entry.types.names[type]
	some position in positions
}
