package lockgate.settings_test

import data.lockgate.asked_test as asked
import data.lockgate.changes
import data.lockgate.configuration
import data.lockgate.settings

# Resources of one type, as Terraform writes them and otherwise.
plans := [
	[asked.created("aws_instance.a", {"size": "m"}), asked.created("aws_instance.b", {"size": "m"}), asked.created("aws_instance.c", {"size": null})],
	[asked.created("aws_instance.a", {"disk": [{"size": 1}, {"size": 2}, {}]}), asked.created("aws_instance.b", {})],
	[asked.later("aws_instance.a", {"disk": [{"size": 1}]}, {"disk": [{"size": true}]}), asked.later("aws_instance.b", {}, {"disk": true, "size": true})],
	[asked.created("aws_instance.a", {"size": "hmac-sha256:00"}), asked.created("aws_instance.b", {"disk": "hmac-sha256:00"})],
	[asked.created("aws_instance.a", {"size": "m"}), {"address": "b", "type": "aws_instance", "change": {"actions": ["create"], "after": null}}],
	[asked.created("aws_instance.a", {"size": ["m"]}), {"address": "b", "type": "aws_instance", "change": {"actions": ["create"], "after": {}, "after_unknown": true}}],
]

test_what_a_type_is_given_is_what_its_resources_are_given_one_by_one if {
	every plan in plans {
		every path in ["size", "disk.size"] {
			each := settings.each("aws_instance", path) with input as asked.question(plan)
			one_by_one := {pair | some pair in configuration.each(changes.at(number(plan)[_]), path)} with input as asked.question(plan)
			each == one_by_one
		}
	}
}

number(plan) := [position | some position, _ in plan]

test_a_verdict_is_found_again_in_each_resource_that_earned_it if {
	verdicts := {["m", false]: "foreign"}
	found := settings.judged("aws_instance", "size", verdicts) with input as asked.question(plans[0])
	found == {[0, "foreign"], [1, "foreign"]}
}

test_what_the_provider_fills_in_is_found_in_no_resource if {
	plan := asked.question_of({
		"resource_changes": [asked.later("aws_instance.a", {}, {"size": true})],
		"configuration": {"root_module": {"resources": [{"address": "aws_instance.a", "mode": "managed", "type": "aws_instance", "name": "x", "expressions": {}}]}},
	})
	settings.each("aws_instance", "size") == {[null, true]} with input as plan
	settings.judged("aws_instance", "size", {[null, true]: "unreadable"}) == set() with input as plan
}
