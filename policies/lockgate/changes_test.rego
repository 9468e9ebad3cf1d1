package lockgate.changes_test

import data.lockgate.changes

plan(resource_changes) := {"resource_changes": resource_changes}

imported(number) := {
	"address": sprintf("aws_s3_bucket.b%d", [number]), "type": "aws_s3_bucket", "mode": "managed",
	"change": {"actions": ["no-op"], "importing": {"id": sprintf("bucket-%d", [number])}},
}

test_what_is_imported_stands_and_is_of_one_kind_wherever_it_comes_from if {
	many := [imported(number) | some number in numbers.range(1, 300)]
	changes.standing == {"aws_s3_bucket": {number | some number in numbers.range(0, 299)}} with input.plan as plan(many)
	count(changes.alike) == 1 with input.plan as plan(many)
}

test_what_neither_changes_nor_is_imported_does_not_stand if {
	one := object.union(imported(1), {"change": {"actions": ["no-op"], "importing": null}})
	changes.standing == {} with input.plan as plan([one])
}

test_a_change_that_says_nothing_of_itself_is_still_one_of_its_type if {
	changes.every_type == {"external": {0}} with input.plan as plan([{"type": "external", "mode": "data", "address": "data.external.x"}])
	changes.gone == {} with input.plan as plan([{"type": "external", "mode": "data", "address": "data.external.x"}])
}
