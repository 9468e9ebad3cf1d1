# public_ingress and admin_ports: what is let in, from where, to which ports.
package lockgate.ingress_test

import data.lockgate.asked_test as asked
import data.lockgate.rulebook

world := {"allowed_ports": [443], "ignored_protocols": {}, "rules_are_resources": false}

admin := {"ports": [22, 3389], "rules_are_resources": false}

group(ingress) := asked.created("aws_security_group.g", {"ingress": ingress})

block(changes) := asked.with_parts(
	{"from_port": 8080, "to_port": 8080, "protocol": "tcp", "cidr_blocks": [], "ipv6_cidr_blocks": [], "self": false},
	changes,
)

is_open(change) if count(asked.denied("public_ingress", world, [change])) == 1

is_open_for_administration(change) if count(asked.denied("admin_ports", admin, [change])) == 1

test_every_spelling_of_everywhere_is_everywhere if {
	every range in [
		"0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1", "0.0.0.0/7", "1.2.3.4/0", "0.0.0.0/00", "0.0.0.0/x", "0.0.0.0/", "0/0", " 0.0.0.0/0 ",
		"::/0", "::0/0", "0:0:0:0:0:0:0:0/0", "2000::/3", "::/1", "8000::/1", "fc00::/0", "0.0.0.0/0/0",
	] {
		is_open(group([block({"cidr_blocks": ["10.0.0.0/8", range]})]))
		is_open(group([block({"ipv6_cidr_blocks": [range]})]))
	}
}

test_a_range_of_ones_own_is_not_everywhere if {
	every range in ["10.0.0.0/8", "192.168.0.0/16", "203.0.113.7/32", "fd00::/8", "fc00::/7", "2001:db8::/32"] {
		not is_open(group([block({"cidr_blocks": [range]})]))
	}
}

test_each_kind_of_aws_rule_is_looked_at if {
	every change in [
		group([block({"cidr_blocks": ["0.0.0.0/0"]})]),
		asked.created("aws_default_security_group.d", {"ingress": [block({"cidr_blocks": ["0.0.0.0/0"]})]}),
		asked.updated("module.m[0].aws_security_group_rule.r[\"a\"]", block({"type": "ingress", "cidr_blocks": ["0.0.0.0/0"]})),
		asked.created("aws_vpc_security_group_ingress_rule.v", {"cidr_ipv4": "0.0.0.0/0", "from_port": 80, "to_port": 80, "ip_protocol": "tcp"}),
		asked.created("aws_vpc_security_group_ingress_rule.v", {"cidr_ipv6": "::/0", "ip_protocol": "-1"}),
	] {
		is_open(change)
	}
	not is_open(asked.created("aws_security_group_rule.r", block({"type": "egress", "cidr_blocks": ["0.0.0.0/0"]})))
	not is_open(group([block({"security_groups": ["sg-1"]})]))
}

test_an_allowed_port_may_be_open_and_nothing_around_it if {
	not is_open(group([block({"from_port": 443, "to_port": 443, "cidr_blocks": ["0.0.0.0/0"]})]))
	is_open(group([block({"from_port": 443, "to_port": 444, "cidr_blocks": ["0.0.0.0/0"]})]))
	is_open(group([block({"from_port": 443, "to_port": 443, "protocol": "-1", "cidr_blocks": ["0.0.0.0/0"]})]))
	is_open(group([block({"from_port": "442", "to_port": "443", "cidr_blocks": ["0.0.0.0/0"]})]))
	not is_open(group([block({"from_port": "443", "to_port": "443", "cidr_blocks": ["0.0.0.0/0"]})]))
	is_open(group([block({"from_port": "4x3", "to_port": "443", "cidr_blocks": ["0.0.0.0/0"]})]))
}

test_a_protocol_may_be_left_out_of_account if {
	ping := group([block({"protocol": "icmp", "from_port": -1, "to_port": -1, "cidr_blocks": ["0.0.0.0/0"]})])
	is_open(ping)
	asked.denied("public_ingress", asked.with_parts(world, {"ignored_protocols": {"icmp": true}}), [ping]) == set()
}

test_what_is_not_known_or_hidden_cannot_be_told_and_does_not_pass if {
	every change in [
		asked.later("aws_security_group.g", {"ingress": [block({"cidr_blocks": null, "from_port": 0})]}, {"ingress": [{"cidr_blocks": true}]}),
		asked.later("aws_security_group.g", {"ingress": [block({"cidr_blocks": [null], "from_port": 0})]}, {"ingress": [{"cidr_blocks": [true]}]}),
		asked.later("aws_security_group.g", {"ingress": [{}]}, {"ingress": [true]}),
		group([block({"cidr_blocks": ["hmac-sha256:00"], "from_port": 0})]),
		group([block({"cidr_blocks": "hmac-sha256:00", "from_port": 0})]),
		group("hmac-sha256:00"),
		asked.created("aws_security_group.g", "hmac-sha256:00"),
		asked.later("aws_vpc_security_group_ingress_rule.v", {"from_port": 20, "to_port": 80, "ip_protocol": "tcp"}, {"cidr_ipv4": true}),
		asked.later("aws_security_group_rule.r", {"type": "ingress", "cidr_blocks": ["0.0.0.0/0"], "protocol": "tcp"}, {"from_port": true, "to_port": true}),
	] {
		asked.unknown("public_ingress", world, [change]) == {change.address}
		asked.unknown("admin_ports", admin, [change]) == {change.address}
	}
}

test_what_is_no_protocol_may_carry_any_port if {
	every protocol in [1e30, 7.5, null, true, []] {
		asked.unknown("admin_ports", admin, [group([block({"protocol": protocol, "from_port": 22, "to_port": 22, "cidr_blocks": ["0.0.0.0/0"]})])]) == {"aws_security_group.g"}
	}
}

test_a_known_port_settles_what_an_unknown_source_leaves_open if {
	web := asked.later("aws_vpc_security_group_ingress_rule.v", {"from_port": 443, "to_port": 443, "ip_protocol": "tcp"}, {"cidr_ipv4": true})
	asked.denied("public_ingress", world, [web]) == set()
	asked.denied("admin_ports", admin, [web]) == set()
}

# A group without rules of its own

later_group := asked.later("aws_security_group.g", {}, {"ingress": true})

configured(expressions) := {"root_module": {"resources": [{"type": "aws_security_group", "name": "x", "expressions": expressions}]}}

told(own, configuration) := {address | some address in object.get(found, ["public_ingress", 0, "unknown"], [])} if {
	found := rulebook.denied with input as asked.question_of({"resource_changes": [later_group], "configuration": configuration})
		with data.lockgate.parameters as {"rules": {"plan": {"public_ingress": [asked.deny(own)]}}}
}

test_a_group_whose_rules_are_not_known_is_taken_for_empty_only_where_policy_data_says_so if {
	resources := asked.with_parts(world, {"rules_are_resources": true})
	told(world, configured({"name": {}})) == {"aws_security_group.g"}
	told(resources, configured({"name": {}})) == set()
	told(resources, configured({"name": {}, "ingress": [{}]})) == {"aws_security_group.g"}
	asked.unknown("public_ingress", resources, [later_group]) == {"aws_security_group.g"} # no configuration says what is not configured
}

# Administration

test_every_range_that_includes_a_port_of_administration_counts if {
	every ports in [[22, 22], [0, 65535], [20, 25], [3389, 3389], [3000, 4000], ["0", "22"]] {
		is_open_for_administration(group([block({"from_port": ports[0], "to_port": ports[1], "cidr_blocks": ["0.0.0.0/0"]})]))
	}
	every ports in [[23, 3388], [443, 443], [3390, 65535]] {
		not is_open_for_administration(group([block({"from_port": ports[0], "to_port": ports[1], "cidr_blocks": ["0.0.0.0/0"]})]))
	}
}

test_any_protocol_includes_them_whatever_its_ports if {
	every protocol in ["-1", -1, "all", "All"] {
		is_open_for_administration(group([block({"from_port": 0, "to_port": 0, "protocol": protocol, "ipv6_cidr_blocks": ["::/0"]})]))
	}
	every protocol in ["tcp", "TCP", "6", 6, "udp", "17", "06", " tcp", "All", "tcp6"] {
		is_open_for_administration(group([block({"from_port": 22, "to_port": 22, "protocol": protocol, "ipv6_cidr_blocks": ["::/0"]})]))
	}
	every protocol in ["icmp", "ICMP", "icmpv6", "1", 1, "58", "esp", "132"] {
		not is_open_for_administration(group([block({"from_port": 22, "to_port": 22, "protocol": protocol, "cidr_blocks": ["0.0.0.0/0"]})]))
	}
}

# Google

firewall(changes) := asked.created("google_compute_firewall.f", asked.with_parts(
	{"direction": "INGRESS", "source_ranges": ["0.0.0.0/0"], "allow": [{"protocol": "tcp", "ports": ["22"]}]},
	changes,
))

test_google_firewalls if {
	every change in [
		firewall({}), firewall({"direction": null}), firewall({"allow": [{"protocol": "all", "ports": []}]}),
		firewall({"allow": [{"protocol": "tcp", "ports": []}]}), firewall({"allow": [{"protocol": "tcp", "ports": ["20-30", "443"]}]}),
		firewall({"source_ranges": []}), firewall({"source_ranges": ["10.0.0.0/8", "::/0"]}),
	] {
		is_open(change)
		is_open_for_administration(change)
	}
	every change in [
		firewall({"direction": "EGRESS"}), firewall({"disabled": true}), firewall({"source_ranges": ["10.0.0.0/8"]}),
		firewall({"source_ranges": [], "source_tags": ["bastion"]}), firewall({"allow": [], "deny": [{"protocol": "all"}]}),
	] {
		not is_open(change)
		not is_open_for_administration(change)
	}
	unread := asked.later("google_compute_firewall.f", {"direction": "INGRESS", "allow": [{"protocol": "tcp", "ports": ["22"]}]}, {"source_ranges": true})
	asked.unknown("admin_ports", admin, [unread]) == {"google_compute_firewall.f"}
}

test_google_firewall_policies if {
	rule := {"direction": "INGRESS", "action": "allow", "match": [{"src_ip_ranges": ["0.0.0.0/0"], "layer4_configs": [{"ip_protocol": "tcp", "ports": ["3389"]}]}]}
	is_open_for_administration(asked.created("google_compute_network_firewall_policy_rule.p", rule))
	not is_open_for_administration(asked.created("google_compute_network_firewall_policy_rule.p", asked.with_parts(rule, {"action": "deny"})))
}

# Azure

azure(changes) := asked.with_parts(
	{
		"direction": "Inbound", "access": "Allow", "protocol": "Tcp", "destination_port_range": "3389", "destination_port_ranges": null,
		"source_address_prefix": "*", "source_address_prefixes": null,
	},
	changes,
)

test_azure_rules_of_their_own_and_inside_a_group if {
	every rule in [
		azure({}), azure({"source_address_prefix": "Internet"}), azure({"source_address_prefix": "INTERNET"}), azure({"source_address_prefix": "0.0.0.0/0"}),
		azure({"source_address_prefix": null, "source_address_prefixes": ["10.0.0.0/8", "::/0"]}), azure({"protocol": "*", "destination_port_range": "*"}),
		azure({"destination_port_range": null, "destination_port_ranges": ["80", "3000-4000"]}), azure({"direction": "inbound", "access": "allow"}),
	] {
		is_open(asked.created("azurerm_network_security_rule.r", rule))
		is_open_for_administration(asked.created("azurerm_network_security_rule.r", rule))
		is_open_for_administration(asked.created("azurerm_network_security_group.g", {"security_rule": [azure({"access": "Deny"}), rule]}))
	}
	every rule in [
		azure({"direction": "Outbound"}), azure({"access": "Deny"}), azure({"source_address_prefix": "10.1.0.0/16"}),
		azure({"source_address_prefix": "VirtualNetwork"}), azure({"protocol": "Icmp"}), azure({"destination_port_range": "443"}),
	] {
		not is_open_for_administration(asked.created("azurerm_network_security_rule.r", rule))
	}
	unread := asked.later("azurerm_network_security_rule.r", azure({"source_address_prefix": null}), {"source_address_prefix": true})
	asked.unknown("admin_ports", admin, [unread]) == {"azurerm_network_security_rule.r"}
}

test_an_attribute_that_is_missing_closes_nothing if {
	every change in [
		asked.created("google_compute_firewall.f", {"allow": [{"protocol": "tcp"}]}),
		asked.created("aws_security_group_rule.r", {"cidr_blocks": ["0.0.0.0/0"]}),
		asked.created("aws_security_group.g", {"ingress": [{"cidr_blocks": ["0.0.0.0/0"]}]}),
		asked.created("azurerm_network_security_rule.r", {"source_address_prefix": "*", "destination_port_range": "*"}),
	] {
		is_open(change)
		is_open_for_administration(change)
	}
}

test_what_is_deleted_or_does_not_change_opens_nothing if {
	open := {"ingress": [block({"cidr_blocks": ["0.0.0.0/0"]})]}
	not is_open(asked.change("aws_security_group.g", ["no-op"], {"after": open}))
	not is_open(asked.change("aws_security_group.g", ["delete"], {"before": open, "after": null}))
	is_open(asked.change("aws_security_group.g", ["no-op"], {"after": open, "importing": {"id": "sg-1"}}))
	is_open(asked.change("aws_security_group.g", ["create", "delete"], {"after": open}))
}
