# METADATA
# title: Open to the world
# description: The change would let traffic in from everywhere.
# custom:
#   rule: public_ingress
#   severity: high
#   why: What everyone can reach, everyone tries. An opening to the world is made on purpose, for the few ports that serve the public, and nowhere else.
#   fix: Name the ranges that need access instead of 0.0.0.0/0 and ::/0, or put a load balancer in front and let in only that.
#   cannot_see: >-
#     Who else is let in by a prefix list, a service tag (other than Internet) or another group; network ACLs, and openings of services with lists of their own; the world
#     cut into more than 128 ranges. Everywhere is any range shorter than /8 (IPv4) or /16 (IPv6). Of a new security group without
#     rules the tool says the same as of one whose rules are not known yet, see `rules_are_resources`.
#   parameters:
#     allowed_ports:
#       type: array
#       maxItems: 100
#       uniqueItems: true
#       items: {type: integer, minimum: 0, maximum: 65535}
#       default: []
#       description: ports that may be open to everyone (tcp and udp); a range is allowed when each of its ends and all between is
#     ignored_protocols:
#       type: array
#       maxItems: 100
#       items: {type: string, minLength: 1, maxLength: 16}
#       form: set
#       default: []
#       description: protocols that do not count, in small letters, as the provider writes them (icmp, icmpv6, 1, 58)
#     rules_are_resources:
#       type: boolean
#       default: false
#       description: true takes a security group whose ingress is neither configured nor known for one without rules. Leave it false where groups make rules by `dynamic` blocks
#   example:
#     - effect: deny
#       allowed_ports: [80, 443]
#       rules_are_resources: true
package lockgate.rules.public_ingress

import data.lockgate.changes
import data.lockgate.network
import data.lockgate.rulebook

resources[number] contains changes.address(opening[0]) if {
	some number, entry in rulebook.selected.public_ingress
	some opening in network.open
	counts(entry, opening)
}

unknown[number] contains changes.address(opening[0]) if {
	some number, entry in rulebook.selected.public_ingress
	some opening in network.perhaps
	counts(entry, opening)
}

unknown[number] contains changes.address(position) if {
	some number, entry in rulebook.selected.public_ingress
	not entry.rules_are_resources
	some position in network.without_rules
}

counts(entry, opening) if {
	not entry.ignored_protocols[opening[1]]
	not is_allowed(entry, opening)
}

is_allowed(entry, [_, protocol, low, high]) if {
	protocol in {"tcp", "udp", "6", "17"}
	is_number(low)
	is_number(high)
	high - low < count(entry.allowed_ports)
	every port in numbers.range(low, high) {
		port in entry.allowed_ports
	}
}
