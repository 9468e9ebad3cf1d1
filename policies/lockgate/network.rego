# METADATA
# title: Openings to the network
# description: What the plan's firewall rules and security groups let in, from where and to which ports. What cannot be read is null.
package lockgate.network

import data.lockgate.changes
import data.lockgate.configuration
import data.lockgate.settings
import data.lockgate.values

# [position, protocol, low, high]: let in from everywhere. Any port is 0 to 65535; protocols are in small letters, any is "any".
open contains [position, protocol, low, high] if {
	some [position, protocol, low, high, source] in passages
	source != null
	not null in [protocol, low, high]
}

# The same where the source or the ports cannot be read: wherever it may be open. A part that cannot be read is null.
perhaps contains [position, protocol, low, high] if {
	some [position, protocol, low, high, source] in passages
	source == null
}

perhaps contains [position, protocol, low, high] if {
	some [position, protocol, low, high, source] in passages
	source != null
	null in [protocol, low, high]
}

# Passages are [position, protocol, low, high, source], and only those from everywhere or from a source that cannot be read (null): most sources are narrow, so
# the source is looked at before all else.
wide(pair) := null if {
	values.dark(pair)
} else := null if {
	not is_string(pair[0])
} else := pair[0] if {
	is_world(pair[0])
}

# Whether anything of a type has a source, under one of these names, that is wide: if not, nothing of it is looked at one by one.
may_be_wide(type, names) if {
	changes.standing[type]
	some name in names
	some top in settings.tops(type, name)
	wide_in(top) != set()
}

# Whether an opening may reach one of the ports from `first` to `last`.
reaches([_, protocol, low, high], first, last) if {
	carries_ports(protocol)
	at_most(low, last)
	at_most(first, high)
}

# Clouds take more spellings of TCP than can be listed ("06", "All"): what is not known to be without ports may have them.
carries_ports(protocol) if not is_portless(protocol)

is_portless(protocol) if portless[protocol]

is_portless(protocol) if {
	is_string(protocol)
	not protocol in {"any", "tcp", "udp", "6", "17"}
	regex.match(`^[1-9][0-9]{0,2}$`, protocol)
}

portless := {"icmp": true, "icmpv6": true, "ipv6-icmp": true, "esp": true, "ah": true, "gre": true, "ipip": true, "sctp": true}

at_most(one, _) if one == null

at_most(_, other) if other == null

at_most(one, other) if {
	one != null
	other != null
	one <= other
}

# Everywhere, and ranges so wide that a few of them make everywhere: shorter than /8 (IPv4) or /16 (IPv6, but not what is private). What is no range
# that can be read counts as everywhere. (OPA remembers what a function said of the same argument if it said something: so false is said.)
is_world(source) if {
	worlds[lower(trim_space(source))]
} else if {
	contains(source, "/")
	not is_narrow(source)
} else := false

worlds := {"*": true, "any": true, "internet": true, "all": true, "0.0.0.0": true, "::": true}

is_narrow(source) if {
	[address, length] := split(source, "/")
	number_in(length) >= shortest(lower(address))
}

shortest(address) := 8 if {
	not contains(address, ":")
} else := 7 if {
	substring(address, 0, 2) in {"fc", "fd"}
} else := 16

# The number in a text of digits. OPA's Wasm takes more texts for numbers than its server does, and fails later.
number_in(text) := to_number(text) if {
	text != ""
	count(text) <= 5
	trim(text, "0123456789") == ""
}

port_number(value) := value if {
	is_number(value)
	value >= -1
	value <= 65535
} else := number_in(value)

# Whether an attribute says one of these, in whatever letters. What is not there says nothing. (An argument of a negated call that is undefined would leave
# the whole rule undefined, so the attribute is looked up in here.)
says(whole, name, words) if whole[name] in words

says(whole, name, words) if lower(whole[name]) in words

# AWS: groups with their rules inside, and rules as resources of their own.

aws_groups := {"aws_security_group": true, "aws_default_security_group": true}

passages contains array.concat([position], passage) if {
	some type, _ in aws_groups
	changes.standing[type]
	opening := {block: found | some block in settings.each(type, "ingress"); found := aws_passages(block); found != []}
	some [position, found] in settings.judged(type, "ingress", opening)
	some passage in found
}

# Positions of groups whose ingress is not known and not configured, as far as the configuration shows: that of a new group which leaves its rules to
# resources of their own, and of one that makes its blocks by `dynamic`.
without_rules contains position if {
	some type, _ in aws_groups
	changes.standing[type]
	settings.is_open(type, "ingress")
	some position in changes.standing[type]
	configuration.is_providers_own(changes.at(position), "ingress")
}

aws_passages(block) := [[null, null, null, null]] if {
	values.dark(block)
} else := [[protocol, ends[0], ends[1], source] |
	some source in aws_sources(block, ["cidr_blocks", "ipv6_cidr_blocks"])
	protocol := aws_protocol(values.member(block, "protocol"))
	ends := aws_ports(protocol, values.member(block, "from_port"), values.member(block, "to_port"))
]

passages contains [position, protocol, ends[0], ends[1], source] if {
	may_be_wide("aws_security_group_rule", ["cidr_blocks", "ipv6_cidr_blocks"])
	some position in changes.standing.aws_security_group_rule
	whole := values.after(changes.at(position).change)
	some source in aws_sources(whole, ["cidr_blocks", "ipv6_cidr_blocks"])
	not says(whole[0], "type", {"egress"})
	protocol := aws_protocol(values.member(whole, "protocol"))
	ends := aws_ports(protocol, values.member(whole, "from_port"), values.member(whole, "to_port"))
}

passages contains [position, protocol, ends[0], ends[1], source] if {
	may_be_wide("aws_vpc_security_group_ingress_rule", ["cidr_ipv4", "cidr_ipv6"])
	some position in changes.standing.aws_vpc_security_group_ingress_rule
	whole := values.after(changes.at(position).change)
	some source in aws_sources(whole, ["cidr_ipv4", "cidr_ipv6"])
	protocol := aws_protocol(values.member(whole, "ip_protocol"))
	ends := aws_ports(protocol, values.member(whole, "from_port"), values.member(whole, "to_port"))
}

aws_sources(whole, names) := union({wide_in(values.member(whole, name)) | some name in names})

# Lists of sources are often the same.
wide_in(list) := {wide(pair) | some pair in values.spread(list)}

aws_protocol(pair) := null if {
	values.dark(pair)
} else := "any" if {
	pair[0] == -1
} else := "any" if {
	lower(pair[0]) in {"-1", "all"}
} else := lower(pair[0]) if {
	is_string(pair[0])
} else := name if {
	name := numbers[pair[0]]
} else := null

# Protocols by their numbers; another number is taken for one that cannot be read.
numbers := {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6"}

# With any protocol AWS ignores the ports.
aws_ports("any", _, _) := [0, 65535]

aws_ports(protocol, low, high) := [port(low), port(high)] if protocol != "any"

port(pair) := null if {
	values.dark(pair)
} else := null if {
	pair[0] == null
} else := number if {
	number := port_number(pair[0])
} else := null

# Google: one firewall rule may let in several protocols from several ranges.

passages contains [position, protocol, ends[0], ends[1], source] if {
	google_may_be_wide
	some position in changes.standing.google_compute_firewall
	body := changes.at(position).change
	some source in google_sources(body)
	not says(values.after(body)[0], "direction", {"egress"})
	not says(values.after(body)[0], "disabled", {true, "true"})
	some allow in values.each(body, "allow")
	protocol := google_protocol(values.member(allow, "protocol"))
	some ends in google_ports(values.member(allow, "ports"))
}

google_policies := {
	"google_compute_firewall_policy_rule", "google_compute_network_firewall_policy_rule",
	"google_compute_region_network_firewall_policy_rule",
}

passages contains [position, protocol, ends[0], ends[1], source] if {
	some type in google_policies
	some position in changes.standing[type]
	body := changes.at(position).change
	not says(values.after(body)[0], "direction", {"egress"})
	not says(values.after(body)[0], "action", {"deny", "goto_next"})
	not says(values.after(body)[0], "disabled", {true, "true"})
	some match in values.each(body, "match")
	some pair in values.spread(values.member(match, "src_ip_ranges"))
	source := wide(pair)
	some layer in values.spread(values.member(match, "layer4_configs"))
	protocol := google_protocol(values.member(layer, "ip_protocol"))
	some ends in google_ports(values.member(layer, "ports"))
}

google_may_be_wide if may_be_wide("google_compute_firewall", ["source_ranges"])

google_may_be_wide if {
	some top in settings.tops("google_compute_firewall", "source_ranges")
	count(values.spread(top)) == 0
}

google_sources(body) := {wide(pair) | some pair in pairs} if {
	pairs := values.each(body, "source_ranges")
	count(pairs) > 0
} else := {"any"} if {
	count(values.each(body, "source_tags")) == 0
	count(values.each(body, "source_service_accounts")) == 0
} else := set()

google_protocol(pair) := null if {
	values.dark(pair)
} else := "any" if {
	lower(pair[0]) == "all"
} else := name if {
	name := lower(pair[0])
} else := null

google_ports(pair) := [[0, 65535]] if {
	count(values.spread(pair)) == 0
} else := [range(item) | some item in values.spread(pair)]

# "22", "1000-2000" or "*"; numbers are taken too.
range(pair) := [null, null] if {
	values.dark(pair)
} else := [pair[0], pair[0]] if {
	is_number(pair[0])
} else := [0, 65535] if {
	pair[0] == "*"
} else := [number_in(trim_space(ends[0])), number_in(trim_space(ends[count(ends) - 1]))] if {
	ends := split(pair[0], "-")
} else := [null, null]

# Azure: security groups with their rules inside, and rules as resources of their own.

passages contains array.concat([position], passage) if {
	may_be_wide("azurerm_network_security_rule", ["source_address_prefix", "source_address_prefixes"])
	some position in changes.standing.azurerm_network_security_rule
	some passage in azure_passages(values.after(changes.at(position).change))
}

passages contains array.concat([position], passage) if {
	some position in changes.standing.azurerm_network_security_group
	some block in values.each(changes.at(position).change, "security_rule")
	some passage in azure_passages(block)
}

azure_passages(block) := [[null, null, null, null]] if {
	values.dark(block)
} else := [[protocol, ends[0], ends[1], source] |
	some source_name in ["source_address_prefix", "source_address_prefixes"]
	some source_pair in values.spread(values.member(block, source_name))
	source := wide(source_pair)
	not says(block[0], "direction", {"outbound"})
	not says(block[0], "access", {"deny"})
	protocol := azure_protocol(values.member(block, "protocol"))
	some port_name in ["destination_port_range", "destination_port_ranges"]
	some port_pair in values.spread(values.member(block, port_name))
	ends := range(port_pair)
]

azure_protocol(pair) := null if {
	values.dark(pair)
} else := "any" if {
	pair[0] == "*"
} else := name if {
	name := lower(pair[0])
} else := null
