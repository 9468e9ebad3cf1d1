package lockgate.rules.residency_test

import data.lockgate.asked_test as asked
import data.lockgate.places
import data.lockgate.rulebook

all := {"names": {}, "prefixes": [""]}

own := {
	"regions": {"names": {"westeurope": true}, "prefixes": ["eu-", "europe-"]}, "target_regions": all,
	"types": {"names": {}, "prefixes": ["aws_"]}, "everywhere": {"names": {}, "prefixes": ["aws_iam_"]},
}

at_fault(change) if asked.denied("residency", own, [change]) == {change.address}

passes(change) if asked.denied("residency", own, [change]) == set()

in_the_dark(change) if asked.unknown("residency", own, [change]) == {change.address}

test_regions_of_places if {
	every place, region in {
		"eu-central-1": "eu-central-1", "eu-central-1a": "eu-central-1", "us-west-2-lax-1a": "us-west-2", "us-gov-west-1": "us-gov-west-1",
		"us-gov-west-1b": "us-gov-west-1", "europe-west1-b": "europe-west1", "europe-west1": "europe-west1", "EU": "eu",
		"West Europe": "westeurope", "westeurope": "westeurope", "ap-southeast-2": "ap-southeast-2", "nam4": "nam4", "global": "global",
	} {
		places.region_of(place) == region
	}
}

test_what_a_resource_says_of_its_place_counts if {
	every after in [{"region": "eu-central-1"}, {"availability_zone": "eu-west-1c"}, {"availability_zones": ["eu-west-1a", "eu-west-1b"]}] {
		passes(asked.created("aws_ebs_volume.a", after))
	}
	every after in [{"region": "us-east-1"}, {"availability_zone": "us-east-1a"}, {"availability_zones": ["eu-west-1a", "us-east-1b"]}] {
		at_fault(asked.created("aws_ebs_volume.a", after))
	}
	passes(asked.created("google_storage_bucket.a", {"location": "EUROPE-WEST1"}))
	at_fault(asked.created("google_storage_bucket.a", {"location": "US"}))
	at_fault(asked.created("google_compute_disk.a", {"zone": "us-central1-a"}))
	passes(asked.created("azurerm_storage_account.a", {"location": "West Europe", "zones": ["1", "2"]}))
	at_fault(asked.created("azurerm_storage_account.a", {"location": "eastus"}))
}

test_copies_elsewhere_count_too if {
	at_fault(asked.created("aws_dynamodb_table.a", {"region": "eu-west-1", "replica": [{"region_name": "us-east-1"}]}))
	passes(asked.created("aws_dynamodb_table.a", {"region": "eu-west-1", "replica": [{"region_name": "eu-central-1"}]}))
	at_fault(asked.created("azurerm_cosmosdb_account.a", {"location": "westeurope", "geo_location": [{"location": "westeurope"}, {"location": "East US"}]}))
	two := {"location": "westeurope", "geo_location": [{"location": "westeurope"}], "failover_location": [{"location": "eastus"}]}
	at_fault(asked.created("azurerm_cosmosdb_account.a", two))
	at_fault(asked.created("google_secret_manager_secret.a", {"replication": [{"user_managed": [{"replicas": [{"location": "us-east1"}]}]}]}))
}

test_a_place_that_is_not_known_yet_does_not_pass if {
	in_the_dark(asked.later("google_compute_disk.a", {}, {"zone": true}))
	in_the_dark(asked.created("google_storage_bucket.a", {"location": "hmac-sha256:00"}))
	in_the_dark(asked.later("aws_dynamodb_table.a", {"region": "eu-west-1"}, {"replica": true}))
	in_the_dark(asked.later("aws_dynamodb_table.a", {"region": "eu-west-1", "replica": [{}]}, {"replica": [{"region_name": true}]}))
	in_the_dark(asked.later("aws_subnet.a", {}, {"availability_zones": [true]}))
	in_the_dark(asked.later("aws_subnet.a", {}, true))
}

# What a provider's configuration says, for a resource that says nothing.
configured(providers, variables) := plan if {
	plan := {
		"resource_changes": [asked.created("aws_s3_bucket.a", {"bucket": "b"})],
		"configuration": {"provider_config": providers}, "variables": variables,
	}
}

provider(expressions) := {"full_name": "registry.terraform.io/hashicorp/aws", "expressions": expressions}

answer(plan) := object.get(found, ["residency", 0], {}) if {
	found := rulebook.denied with input as asked.question_of(plan) with data.lockgate.parameters as {"rules": {"plan": {"residency": [asked.deny(own)]}}}
}

by_variable := {"region": {"references": ["var.region"]}}

test_the_providers_region_counts_where_the_resource_says_none if {
	answer(configured({"aws": provider({"region": {"constant_value": "eu-central-1"}})}, {})) == {}
	answer(configured({"aws": provider({"region": {"constant_value": "us-east-1"}})}, {})) == {"resources": ["aws_s3_bucket.a"], "resources_count": 1}
	answer(configured({"aws": provider(by_variable)}, {"region": {"value": "eu-west-1"}})) == {}
	answer(configured({"aws": provider(by_variable)}, {"region": {"value": "us-east-1"}})).resources == ["aws_s3_bucket.a"]
}

test_a_provider_that_does_not_say_is_in_the_dark if {
	every plan in [
		configured({}, {}),
		configured({"aws": provider({})}, {}),
		configured({"aws": provider({"region": {"constant_value": "hmac-sha256:00"}})}, {}),
		configured({"aws": provider(by_variable)}, {"region": {"value": "hmac-sha256:00"}}),
		configured({"aws": provider(by_variable)}, {}),
		configured({"aws": provider({"region": {"references": ["local.region"]}})}, {}),
		configured({"aws": provider({"region": {"constant_value": "eu-west-1"}}), "aws.us": provider({"region": {"constant_value": "us-east-1"}})}, {}),
		configured({"aws": provider({"region": {"constant_value": "eu-west-1"}}), "aws.us": provider({})}, {}),
	] {
		answer(plan) == {"unknown": ["aws_s3_bucket.a"], "unknown_count": 1}
	}
}

test_a_modules_variable_is_not_the_roots_of_the_same_name if {
	of_module := {"module.m:aws": object.union(provider(by_variable), {"module_address": "module.m"})}
	answer(configured(of_module, {"region": {"value": "eu-west-1"}})) == {"unknown": ["aws_s3_bucket.a"], "unknown_count": 1}
}

test_what_lies_nowhere_in_particular_and_what_goes_away_passes if {
	passes(asked.created("aws_iam_role.a", {"name": "r"}))
	passes(asked.created("aws_iam_role.a", {"region": "us-east-1"}))
	passes(asked.created("terraform_data.a", {}))
	passes(asked.created("azurerm_subnet.a", {"name": "s"}))
	passes(asked.removed("aws_s3_bucket.a"))
}

test_the_target_itself_has_a_region if {
	only_eu := object.union(own, {"target_regions": {"names": {"eu": true}, "prefixes": []}})
	every region, expected in {"eu": set(), "eu-west": {{"rule": "residency", "details": {"region": "eu-west"}}}} {
		every question in ["request", "plan"] {
			about := object.union(asked.question([]), {"question": question, "target": {"region": region}})
			violations := rulebook.violations with input as about
				with data.lockgate.parameters as {"rules": {question: {"residency": [object.union(asked.deny({}), asked.with_parts(own, only_eu))]}}}
			violations == expected
		}
	}
}
