# required_tags, the allowed_… rules, banned_provisioners and external_data: what must be there, and what may be used.
package lockgate.allowed_test

import data.lockgate.asked_test as asked
import data.lockgate.rulebook

# The details of a rule's fault under one entry; none where there is no fault.
details(rule, own, plan) := object.get(found, [rule, 0], {}) if {
	found := rulebook.denied with input as asked.question_of(plan) with data.lockgate.parameters as {"rules": {"plan": {rule: [asked.deny(own)]}}}
}

# Tags

tags := {
	"tags": {"owner": {"names": {}, "prefixes": ["team-"]}, "cost": {"names": {}, "prefixes": [""]}},
	"types": {"names": {}, "prefixes": [""]}, "except_types": {"names": {"aws_kms_alias": true}, "prefixes": []},
}

good := {"owner": "team-a", "cost": "12"}

test_resources_with_their_tags if {
	every change in [
		asked.created("aws_vpc.v", {"tags": good}), asked.created("aws_vpc.v", {"tags": null, "tags_all": good}), asked.updated("azurerm_subnet.s", {"tags": good}),
		asked.created("aws_vpc.v", {"tags": {"owner": "team-a"}, "tags_all": good}), asked.created("google_compute_disk.d", {"labels": {}, "effective_labels": good}),
		asked.created("google_compute_instance.i", {"tags": ["web"], "labels": good}), asked.created("aws_s3_bucket_policy.p", {"policy": "{}"}),
		asked.created("aws_kms_alias.a", {"tags": {}}), asked.removed("aws_vpc.v"), asked.created("google_container_cluster.c", {"resource_labels": good}),
	] {
		asked.denied("required_tags", tags, [change]) == set()
	}
}

test_resources_without_them if {
	every change in [
		asked.created("aws_vpc.v", {"tags": null}), asked.created("module.m.aws_vpc.v[\"a\"]", {"tags": {"owner": "team-a"}}), asked.created("aws_vpc.v", {"tags": {"owner": "team-a", "cost": ""}}),
		asked.created("aws_vpc.v", {"tags": {"owner": "nobody", "cost": "12"}}), asked.created("aws_vpc.v", {"tags": good, "tags_all": {"owner": "team-a"}}),
		asked.created("aws_vpc.v", {"tags": {"Owner": "team-a", "cost": "12"}}), asked.updated("google_compute_instance.i", {"tags": ["owner", "cost"], "labels": null}),
		asked.created("aws_vpc.v", {"tags": {"owner": "team-a", "cost": null}}), asked.created("aws_vpc.v", {"tags": {"owner": 7, "cost": "12"}}),
	] {
		asked.denied("required_tags", tags, [change]) == {change.address}
		asked.unknown("required_tags", tags, [change]) == set()
	}
}

test_tags_that_are_not_known_do_not_pass if {
	every change in [
		asked.later("aws_vpc.v", {}, {"tags": true}), asked.later("aws_vpc.v", {"tags": null}, {"tags_all": true}), asked.later("aws_vpc.v", {"tags": {"owner": "team-a"}}, {"tags_all": true}),
		asked.later("aws_vpc.v", {"tags": {"owner": "team-a"}}, {"tags": {"cost": true}}), asked.created("aws_vpc.v", {"tags": {"owner": "team-a", "cost": "hmac-sha256:00"}}),
		asked.created("aws_vpc.v", {"tags": "hmac-sha256:00"}), asked.created("aws_vpc.v", "hmac-sha256:00"),
	] {
		asked.unknown("required_tags", tags, [change]) == {change.address}
	}
	asked.denied("required_tags", tags, [asked.later("aws_vpc.v", {"tags": good}, {"tags_all": true})]) == set()
}

# Sizes

sizes := {
	"allowed": {"names": {"db.t3.micro": true}, "prefixes": ["t3.", "e2-", "standard_b"]},
	"attributes": {
		"aws_instance": ["instance_type"], "aws_eks_node_group": ["instance_types"], "aws_db_instance": ["instance_class"], "google_compute_instance": ["machine_type"],
		"google_sql_database_instance": ["settings.tier"], "azurerm_linux_virtual_machine": ["size"],
		"aws_autoscaling_group": ["mixed_instances_policy.launch_template.override.instance_type"],
	},
}

test_sizes if {
	every change, faults in {
		asked.created("aws_instance.i", {"instance_type": "t3.micro"}): 0, asked.created("aws_instance.i", {"instance_type": "p5.48xlarge"}): 1,
		asked.updated("module.m.aws_instance.i[3]", {"instance_type": "m7i.large"}): 1, asked.created("aws_eks_node_group.g", {"instance_types": ["t3.large", "m7i.large"]}): 1,
		asked.created("aws_db_instance.d", {"instance_class": "db.t3.micro"}): 0, asked.created("aws_db_instance.d", {"instance_class": "db.t3.small"}): 1,
		asked.created("google_compute_instance.g", {"machine_type": "https://compute/zones/z/machineTypes/e2-small"}): 0, asked.created("google_compute_instance.g", {"machine_type": "n2-standard-8"}): 1,
		asked.created("google_sql_database_instance.s", {"settings": [{"tier": "db-custom-64"}]}): 1, asked.created("azurerm_linux_virtual_machine.v", {"size": "Standard_B1s"}): 0,
		asked.created("azurerm_linux_virtual_machine.v", {"size": "STANDARD_M128"}): 1, asked.created("aws_vpc.v", {}): 0, asked.created("aws_instance.i", {"instance_type": null}): 0,
		asked.created("aws_autoscaling_group.a", {"mixed_instances_policy": [{"launch_template": [{"override": [{"instance_type": "t3.micro"}, {"instance_type": "x2.large"}]}]}]}): 1,
	} {
		count(asked.denied("allowed_instance_types", sizes, [change])) == faults
	}
	every change in [asked.later("aws_instance.i", {}, {"instance_type": true}), asked.created("aws_instance.i", {"instance_type": "hmac-sha256:00"}), asked.created("aws_instance.i", {"instance_type": 7})] {
		asked.unknown("allowed_instance_types", sizes, [change]) == {"aws_instance.i"}
	}
}

# Providers

providers := {"sources": {"names": {"hashicorp/aws": true}, "prefixes": ["registry.example.com/platform/"]}}

using(source) := {"resource_changes": [object.union(asked.created("aws_vpc.v", {}), {"provider_name": source})]}

test_providers_by_resource_lock_file_and_block if {
	every source in ["registry.terraform.io/hashicorp/aws", "registry.opentofu.org/hashicorp/AWS", "registry.example.com/platform/dns", "terraform.io/builtin/terraform"] {
		details("allowed_providers", providers, using(source)) == {}
	}
	every source in ["registry.terraform.io/evil/aws", "registry.example.com/hashicorp/aws", "hashicorp/awsx", "registry.example.com/platformx/dns"] {
		details("allowed_providers", providers, using(source)) == {"providers": [source], "providers_count": 1}
	}
	details("allowed_providers", providers, {"providers": ["registry.terraform.io/evil/aws 1.0.0 (h1:x)"]}).providers_count == 1
	aliased := {"configuration": {"provider_config": {"aws.west": {"name": "aws", "alias": "west", "full_name": "registry.terraform.io/evil/aws"}}, "root_module": {}}}
	details("allowed_providers", providers, aliased).providers == ["registry.terraform.io/evil/aws"]
}

# Modules

modules := {"sources": {"names": {"corp/vpc/aws": true}, "prefixes": ["./modules/"]}, "versions": {"corp/vpc/aws": {"names": {"1.2.3": true}, "prefixes": []}}}

calling(calls) := {"configuration": {"root_module": {"module_calls": calls}}}

test_modules_by_source_and_version_however_deep if {
	details("allowed_modules", modules, calling({"a": {"source": "./modules/a", "module": {"module_calls": {"b": {"source": "corp/vpc/aws", "version_constraint": "1.2.3"}}}}})) == {}
	every call in [
		{"source": "./other/a"}, {"source": "./modules/../other"}, {"source": "./modules/.."}, {"source": "corp/vpc/aws"}, {"source": "corp/vpc/aws", "version_constraint": ">= 1.0"},
		{"source": "Corp/vpc/aws", "version_constraint": "1.2.3"}, {"source": "git::https://example.com/a.git"}, {}, {"source": 7},
	] {
		details("allowed_modules", modules, calling({"a": call})).modules_count == 1
		details("allowed_modules", modules, calling({"a": {"source": "./modules/a", "module": {"module_calls": {"b": call}}}})).modules_count == 1
	}
	details("allowed_modules", modules, calling({"a": {"source": "corp/vpc/aws", "version_constraint": "2.0.0"}})).modules == ["corp/vpc/aws 2.0.0"]
	details("allowed_modules", modules, {}) == {}
}

inside(call) := {"source": "./modules/x", "module": {"module_calls": {"m": call}}}

test_modules_called_deeper_than_can_be_looked_at_are_not_allowed if {
	leaf := {"source": "./modules/x", "module": {}}
	eight := inside(inside(inside(inside(inside(inside(inside(leaf)))))))
	details("allowed_modules", modules, calling({"a": eight})) == {}
	details("allowed_modules", modules, calling({"a": inside(eight)})).modules == ["?"]
	details("external_data", external, calling({"a": inside(eight)})).unknown_count == 1
}

# Commands

test_provisioners_by_kind if {
	own := {"allowed": {"file": true}}
	lines := [
		"aws_instance.a: file", "aws_instance.a: local-exec", "module.m.aws_instance.b: remote-exec", "a.b: action aws_lambda_invoke",
		"the root module: the word stands 1 times more often than the engine lists provisioners: a removed block runs its own at destroy",
	]
	details("banned_provisioners", own, {"provisioners": lines}).provisioners_count == 4
	not "aws_instance.a: file" in details("banned_provisioners", own, {"provisioners": lines}).provisioners
	details("banned_provisioners", own, {"provisioners": ["aws_instance.a: file"]}) == {}
	details("banned_provisioners", {"allowed": {}}, {"provisioners": []}) == {}
}

# Data

external := {"types": {"names": {"external": true, "http": true}, "prefixes": ["restapi_"]}}

test_external_data_in_whatever_module_and_mode if {
	every type, faults in {"external": 1, "http": 1, "restapi_object": 1, "aws_ami": 0, "external_x": 0} {
		resource := {"address": concat("", ["data.", type, ".x"]), "mode": "data", "type": type, "name": "x", "expressions": {}}
		object.get(details("external_data", external, {"configuration": {"root_module": {"resources": [resource]}}}), "resources_count", 0) == faults
		object.get(details("external_data", external, calling({"m": {"source": "./m", "module": {"resources": [resource]}}})), "resources_count", 0) == faults
		read := {"resource_changes": [{"address": resource.address, "mode": "data", "type": type, "name": "x", "change": {"actions": ["read"]}}]}
		object.get(details("external_data", external, read), "resources_count", 0) == faults
	}
}
