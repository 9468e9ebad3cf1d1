# stateful_delete, database_delete, create_before_destroy and blast_radius: what is deleted, and how much.
package lockgate.deletes_test

import data.lockgate.asked_test as asked
import data.lockgate.rulebook

buckets := {"types": {"names": {"aws_s3_bucket": true}, "prefixes": ["aws_fsx_"]}}

test_every_way_to_lose_a_resource_counts if {
	every actions in [["delete"], ["delete", "create"], ["create", "delete"], ["forget"], ["create", "forget"]] {
		asked.denied("stateful_delete", buckets, [asked.change("aws_s3_bucket.a", actions, {})]) == {"aws_s3_bucket.a"}
	}
}

test_what_stays_does_not_count if {
	every actions in [["create"], ["update"], ["no-op"], ["read"]] {
		asked.denied("stateful_delete", buckets, [asked.change("aws_s3_bucket.a", actions, {})]) == set()
	}
}

test_modules_and_indices_hide_nothing if {
	hidden := ["module.a.module.b[\"x\"].aws_s3_bucket.a[0]", "aws_s3_bucket.b[\"k.e-y\"]", "module.c[3].aws_fsx_lustre_file_system.c"]
	asked.denied("stateful_delete", buckets, [asked.removed(address) | some address in hidden]) == {address | some address in hidden}
}

test_a_move_deletes_nothing_and_a_replace_by_two_resources_deletes_one if {
	moved := object.union(asked.change("aws_s3_bucket.new", ["no-op"], {}), {"previous_address": "aws_s3_bucket.old"})
	asked.denied("stateful_delete", buckets, [moved]) == set()
	two := [asked.removed("aws_s3_bucket.old"), asked.created("aws_s3_bucket.new", {})]
	asked.denied("stateful_delete", buckets, two) == {"aws_s3_bucket.old"}
}

test_another_type_and_a_data_source_do_not_count if {
	data_source := object.union(asked.change("data.aws_s3_bucket.a", ["delete"], {}), {"mode": "data", "type": "aws_s3_bucket"})
	asked.denied("stateful_delete", buckets, [data_source, asked.removed("aws_s3_bucket_policy.a")]) == set()
}

test_a_change_that_does_not_say_its_mode_counts if {
	asked.denied("stateful_delete", buckets, [object.remove(asked.removed("aws_s3_bucket.a"), ["mode"])]) == {"aws_s3_bucket.a"}
}

test_a_database_that_goes_is_its_own_rule if {
	own := {"types": {"names": {"aws_db_instance": true}, "prefixes": ["google_sql_"]}}
	going := [asked.removed("aws_db_instance.a"), asked.removed("module.m.google_sql_database.b"), asked.removed("aws_instance.c")]
	asked.denied("database_delete", own, going) == {"aws_db_instance.a", "module.m.google_sql_database.b"}
}

test_a_replacement_must_be_created_first if {
	own := {"types": {"names": {"aws_lb_target_group": true}, "prefixes": []}}
	every actions, faults in {
		["delete", "create"]: {"aws_lb_target_group.a"}, ["create", "delete"]: set(), ["delete"]: set(), ["create"]: set(),
		["update"]: set(),
	} {
		asked.denied("create_before_destroy", own, [asked.change("aws_lb_target_group.a", actions, {})]) == faults
	}
	asked.denied("create_before_destroy", own, [asked.change("aws_instance.a", ["delete", "create"], {})]) == set()
}

# Blast radius

weighing(limit, by_type) := {"limit": limit, "weights": {"create": 1, "update": 5, "delete": 10}, "weights_by_type": by_type}

weight(limit, by_type, summary, changes) := details if {
	found := rulebook.denied with input as asked.question_of({"summary": summary, "resource_changes": changes})
		with data.lockgate.parameters as {"rules": {"plan": {"blast_radius": [asked.deny(weighing(limit, by_type))]}}}
	details := object.get(found, ["blast_radius", 0], {})
}

test_a_delete_weighs_ten_an_update_five_a_create_one_and_a_replace_eleven if {
	summary := {"create": 1, "update": 2, "delete": 3, "replace": 4}
	weight(84, {}, summary, []) == {"weight": 85, "limit": 84}
	weight(85, {}, summary, []) == {}
}

test_a_type_may_weigh_otherwise if {
	heavy := {"db": {"create": 100, "update": 200, "delete": 1000}}
	changes := [asked.change("db.a", ["delete", "create"], {}), asked.updated("web.a", {}), asked.change("db.b", ["forget"], {})]
	summary := {"create": 0, "update": 1, "delete": 1, "replace": 1}
	weight(0, heavy, summary, changes).weight == (1100 + 5) + 1000
}

test_what_is_imported_or_moved_weighs_as_an_update if {
	moved := object.union(asked.change("db.b", ["no-op"], {}), {"previous_address": "db.c"})
	changes := [asked.change("db.a", ["no-op"], {"importing": {"id": "x"}}), moved, asked.change("db.d", ["no-op"], {})]
	weight(0, {"db": {"create": 0, "update": 7, "delete": 0}}, {"create": 0, "update": 2, "delete": 0, "replace": 0}, changes).weight == 14
}

test_without_a_plan_nothing_weighs if {
	found := rulebook.denied with input as object.union(object.remove(asked.question([]), ["plan"]), {"plan": null})
		with data.lockgate.parameters as {"rules": {"plan": {"blast_radius": [asked.deny(weighing(0, {}))]}}}
	found == {}
}
