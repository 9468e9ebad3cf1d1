# METADATA
# title: Remote administration open to the world
# description: The change would let everyone reach SSH, RDP or another port that administers machines.
# custom:
#   rule: admin_ports
#   severity: critical
#   why: Open SSH and RDP are found within minutes and tried for ever. One weak password or one flaw later the machine is someone else's.
#   fix: Reach the machines through a bastion, a VPN or the cloud's own session service, and name their ranges as the source.
#   cannot_see: As public_ingress; and services that listen for administration on other ports than `ports` lists.
#   parameters:
#     ports:
#       type: array
#       minItems: 1
#       maxItems: 100
#       uniqueItems: true
#       items: {type: integer, minimum: 0, maximum: 65535}
#       default: [22, 3389]
#       description: ports that administer machines; a range that includes one counts, and so does any protocol
#     rules_are_resources:
#       type: boolean
#       default: false
#       description: as in public_ingress
#   example:
#     - effect: deny
#       ports: [22, 3389, 5985, 5986]
#       rules_are_resources: true
package lockgate.rules.admin_ports

import data.lockgate.changes
import data.lockgate.network
import data.lockgate.rulebook

resources[number] contains changes.address(opening[0]) if {
	some number, entry in rulebook.selected.admin_ports
	some opening in network.open
	some port in entry.ports
	network.reaches(opening, port, port)
}

unknown[number] contains changes.address(opening[0]) if {
	some number, entry in rulebook.selected.admin_ports
	some opening in network.perhaps
	some port in entry.ports
	network.reaches(opening, port, port)
}

unknown[number] contains changes.address(position) if {
	some number, entry in rulebook.selected.admin_ports
	not entry.rules_are_resources
	some position in network.without_rules
}
