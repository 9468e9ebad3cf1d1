# iam_wildcard, broad_role and open_trust: what is permitted, to whom.
package lockgate.access_rules_test

import data.lockgate.asked_test as asked
import data.lockgate.rulebook

wildcards := {
	"service_wildcards": true, "any_resource": true, "roles_without_inline": false,
	"harmless": {"names": {"sts:getcalleridentity": true}, "prefixes": ["ec2:describe"]},
}

document(statement) := json.marshal({"Version": "2012-10-17", "Statement": statement})

policy(statement) := asked.created("aws_iam_policy.p", {"policy": document(statement)})

is_too_wide(statement) if asked.denied("iam_wildcard", wildcards, [policy(statement)]) == {"aws_iam_policy.p"}

allow(parts) := asked.with_parts({"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::logs/*"}, parts)

test_wildcards_in_every_form if {
	every parts in [
		{"Action": "*"}, {"Action": ["s3:GetObject", "*"]}, {"Action": "*:*"}, {"Action": "**"}, {"Action": "?*"}, {"Action": "*:Get*"},
		{"Action": "s3:*"}, {"Action": "S3:*"}, {"Action": "s3:?*"}, {"Action": "iam:**"}, {"Resource": "*"}, {"Resource": ["arn:aws:s3:::a", "*"]},
		{"Resource": "arn:aws:s3:::*"}, {"Resource": "arn:aws:dynamodb:*:*:*"}, {"Resource": "arn:*"}, {"Resource": "arn:aws:s3:::*/*"},
	] {
		is_too_wide([allow(parts)])
		is_too_wide(allow(parts))
		is_too_wide([allow({}), allow(parts)])
	}
	is_too_wide([{"Effect": "Allow", "NotAction": "iam:*", "Resource": "arn:aws:s3:::a"}])
	is_too_wide([{"Effect": "Allow", "Action": "s3:GetObject", "NotResource": "arn:aws:s3:::a"}])
}

test_what_is_named_is_not_too_wide if {
	every statement in [
		allow({}), allow({"Action": ["s3:Get*", "s3:ListBucket"]}), allow({"Resource": ["arn:aws:s3:::a", "arn:aws:s3:::a/*"]}),
		allow({"Effect": "Deny", "Action": "*", "Resource": "*"}), {"Effect": "Deny", "NotAction": "s3:*", "Resource": "*"},
		allow({"Action": ["ec2:DescribeInstances", "STS:GetCallerIdentity"], "Resource": "*"}),
	] {
		not is_too_wide(statement)
	}
	is_too_wide(allow({"Action": ["ec2:DescribeInstances", "ec2:RunInstances"], "Resource": "*"}))
}

test_a_document_in_other_words_or_shapes_than_aws_knows_cannot_be_judged_and_does_not_pass if {
	every statement in [
		{"effect": "Allow", "action": "*", "resource": "*"}, {"Action": "s3:GetObject", "Resource": "arn:aws:s3:::a"},
		{"Effect": "allow", "Action": "s3:GetObject"}, {"Effect": ["Deny", "Allow"], "Action": "s3:GetObject"}, {"Effect": "Deny", "effect": "Allow"},
		{"Effect": "Allow", "Action": [["*"]]}, {"Effect": "Allow", "Action": {"x": "*"}}, {"Effect": "Allow", "Action": 7}, {"Effect": "Allow", "Resource": null, "Action": "s3:Get"},
		[{"Effect": "Deny", "Action": "s3:GetObject"}, "*"], [[{"Effect": "Allow", "Action": "*"}]], [],
	] {
		asked.unknown("iam_wildcard", wildcards, [policy(statement)]) == {"aws_iam_policy.p"}
	}
	other := json.marshal({"statement": {"Effect": "Allow", "Action": "s3:GetObject"}})
	asked.unknown("iam_wildcard", wildcards, [asked.created("aws_iam_policy.p", {"policy": other})]) == {"aws_iam_policy.p"}
}

test_a_text_that_goes_on_after_its_value_is_no_policy if {
	good := document({"Effect": "Allow", "Action": "s3:GetObject"})
	every ending in [" x", "] x [", ",{}", ",", good] {
		text := concat("", [good, ending])
		asked.unknown("iam_wildcard", wildcards, [asked.created("aws_iam_policy.p", {"policy": text})]) == {"aws_iam_policy.p"}
	}
	asked.denied("iam_wildcard", wildcards, [asked.created("aws_iam_policy.p", {"policy": concat("", [" ", good, "\n"])})]) == set()
}

test_a_wildcard_without_effect_is_one if is_too_wide({"Action": "*", "Resource": "*"})

test_a_service_or_any_resource_may_be_left_to_another_rule if {
	lenient := asked.with_parts(wildcards, {"service_wildcards": false, "any_resource": false})
	asked.denied("iam_wildcard", lenient, [policy(allow({"Action": "s3:*", "Resource": "*"}))]) == set()
	asked.denied("iam_wildcard", lenient, [policy(allow({"Action": "*"}))]) == {"aws_iam_policy.p"}
}

test_every_place_of_a_policy_is_looked_at if {
	text := document(allow({"Action": "*"}))
	every change in [
		asked.created("module.a[\"x\"].aws_iam_role_policy.p", {"policy": text}), asked.updated("aws_iam_user_policy.p[0]", {"policy": text}),
		asked.created("aws_iam_group_policy.p", {"policy": text}), asked.created("aws_ssoadmin_permission_set_inline_policy.p", {"inline_policy": text}),
		asked.created("aws_iam_role.r", {"inline_policy": [{"name": "a", "policy": document(allow({}))}, {"name": "b", "policy": text}]}),
	] {
		asked.denied("iam_wildcard", wildcards, [change]) == {change.address}
	}
}

test_a_policy_that_cannot_be_read_does_not_pass if {
	every change in [
		asked.later("aws_iam_policy.p", {}, {"policy": true}), asked.created("aws_iam_policy.p", {"policy": "hmac-sha256:00"}),
		asked.created("aws_iam_policy.p", {"policy": "{\"Statement\": "}), asked.created("aws_iam_policy.p", {"policy": "[]"}),
		asked.created("aws_iam_policy.p", {"policy": "{}"}), asked.created("aws_iam_policy.p", {"policy": {"Statement": []}}),
		asked.created("aws_iam_policy.p", {"policy": "{\"Statement\": [\"*\"]}"}), asked.created("aws_iam_policy.p", "hmac-sha256:00"),
		asked.later("aws_iam_role.r", {}, {"inline_policy": true}), asked.later("aws_iam_role.r", {"inline_policy": [{"name": "a"}]}, {"inline_policy": [{"policy": true}]}),
	] {
		asked.unknown("iam_wildcard", wildcards, [change]) == {change.address}
	}
}

# A role that says nothing of inline policies

new_role(expressions) := {
	"resource_changes": [asked.later("aws_iam_role.r", {}, {"inline_policy": true, "managed_policy_arns": true})],
	"configuration": {"root_module": {"module_calls": {"m": {"module": {"resources": [{"type": "aws_iam_role", "name": "x", "expressions": expressions}]}}}}},
}

verdict(rule, own, plan) := object.get(found, [rule, 0, "unknown"], []) if {
	found := rulebook.denied with input as asked.question_of(plan) with data.lockgate.parameters as {"rules": {"plan": {rule: [asked.deny(own)]}}}
}

test_a_role_whose_inline_policies_are_not_known_is_taken_for_one_without_only_where_policy_data_says_so if {
	without := asked.with_parts(wildcards, {"roles_without_inline": true})
	verdict("iam_wildcard", wildcards, new_role({})) == ["aws_iam_role.r"]
	verdict("iam_wildcard", without, new_role({})) == []
	verdict("iam_wildcard", without, new_role({"inline_policy": [{}]})) == ["aws_iam_role.r"]
}

test_an_attribute_that_nobody_configured_is_the_providers_own if {
	verdict("broad_role", roles, new_role({})) == []
	verdict("broad_role", roles, new_role({"managed_policy_arns": {}})) == ["aws_iam_role.r"]
}

# Roles

roles := {"roles": {"names": {"administratoraccess": true, "roles/owner": true, "owner": true, "8e3af657": true}, "prefixes": ["roles/iam."]}}

test_ready_made_roles_that_may_do_nearly_everything if {
	every change in [
		asked.created("aws_iam_role_policy_attachment.a", {"policy_arn": "arn:aws:iam::aws:policy/AdministratorAccess"}),
		asked.created("aws_iam_user_policy_attachment.a", {"policy_arn": "arn:aws-cn:iam::aws:policy/AdministratorAccess"}),
		asked.created("aws_iam_role.r", {"managed_policy_arns": ["arn:aws:iam::aws:policy/x", "arn:aws:iam::aws:policy/AdministratorAccess"]}),
		asked.created("google_project_iam_member.m", {"role": "roles/owner", "member": "user:a@example.com"}),
		asked.updated("module.x.google_folder_iam_binding.b[0]", {"role": "roles/iam.admin", "members": ["user:a@example.com"]}),
		asked.created("google_project_iam_policy.p", {"policy_data": json.marshal({"bindings": [{"role": "roles/owner", "members": ["user:a"]}]})}),
		asked.created("azurerm_role_assignment.a", {"role_definition_name": "OWNER", "role_definition_id": null}),
		asked.later("azurerm_role_assignment.a", {"role_definition_id": "/subscriptions/s/roleDefinitions/8E3AF657"}, {"role_definition_name": true}),
		asked.created("azurerm_role_definition.d", {"permissions": [{"actions": ["Microsoft.Compute/read", "*"]}]}),
	] {
		asked.denied("broad_role", roles, [change]) == {change.address}
		asked.unknown("broad_role", roles, [change]) == set()
	}
}

test_narrow_roles_pass if {
	every change in [
		asked.created("aws_iam_role_policy_attachment.a", {"policy_arn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}),
		asked.created("google_project_iam_member.m", {"role": "roles/viewer", "member": "user:a@example.com"}),
		asked.later("azurerm_role_assignment.a", {"role_definition_name": "Reader"}, {"role_definition_id": true}),
		asked.created("azurerm_role_definition.d", {"permissions": [{"actions": ["Microsoft.Compute/*/read"]}]}),
	] {
		asked.denied("broad_role", roles, [change]) == set()
	}
}

test_a_role_that_cannot_be_read_does_not_pass if {
	every change in [
		asked.later("aws_iam_role_policy_attachment.a", {}, {"policy_arn": true}), asked.later("google_project_iam_member.m", {"member": "user:a"}, {"role": true}),
		asked.created("google_project_iam_policy.p", {"policy_data": "hmac-sha256:00"}), asked.created("google_project_iam_policy.p", {"policy_data": "{"}),
		asked.later("azurerm_role_assignment.a", {}, {"role_definition_name": true, "role_definition_id": true}),
		asked.created("azurerm_role_definition.d", {"permissions": "hmac-sha256:00"}),
	] {
		asked.unknown("broad_role", roles, [change]) == {change.address}
	}
}

# Trust

trusted := {"trusted_conditions": {"names": {"aws:principalorgid": true}, "prefixes": []}}

role(principal, condition) := asked.created("aws_iam_role.r", {"assume_role_policy": document([object.union(
	{"Effect": "Allow", "Action": "sts:AssumeRole"},
	object.union(principal, condition),
)])})

test_a_principal_that_is_everyone_in_every_form if {
	every principal in [
		{"Principal": "*"}, {"Principal": {"AWS": "*"}}, {"Principal": {"AWS": ["arn:aws:iam::1:root", "*"]}}, {"Principal": {"Federated": "*"}},
		{"Principal": {"AWS": " * "}}, {"NotPrincipal": {"AWS": "arn:aws:iam::1:root"}},
	] {
		asked.denied("open_trust", trusted, [role(principal, {})]) == {"aws_iam_role.r"}
	}
	every principal in [{"Principal": {"AWS": "arn:aws:iam::1:root"}}, {"Principal": {"Service": ["ec2.amazonaws.com"]}}] {
		asked.denied("open_trust", trusted, [role(principal, {})]) == set()
	}
}

test_only_a_listed_condition_tested_for_equality_narrows if {
	everyone := {"Principal": {"AWS": "*"}}
	every condition in [
		{"StringEquals": {"aws:PrincipalOrgID": "o-1"}}, {"stringEquals": {"aws:principalOrgId": ["o-1", "o-*"]}},
		{"ArnEquals": {"aws:PrincipalOrgID": "arn:aws:iam::1:role/a"}},
	] {
		asked.denied("open_trust", trusted, [role(everyone, {"Condition": condition})]) == set()
	}
	every condition in [
		{"StringLike": {"aws:PrincipalOrgID": "*"}}, {"Bool": {"aws:SecureTransport": "true"}}, {"StringEquals": {"aws:PrincipalTag/x": "y"}},
		{"StringEqualsIfExists": {"aws:PrincipalOrgID": "o-1"}}, {"StringEquals": {"aws:PrincipalOrgID": []}},
		{"StringEquals": {"aws:PrincipalOrgID": "${aws:PrincipalOrgID}"}}, {"StringEquals": {"aws:PrincipalOrgID": ["o-1", "${aws:PrincipalOrgID}"]}},
		{"ArnEquals": {"aws:PrincipalOrgID": "arn:aws:iam::*:role/a"}}, {"ArnEquals": {"aws:PrincipalOrgID": ["arn:aws:iam::1:role/?"]}},
	] {
		asked.denied("open_trust", trusted, [role(everyone, {"Condition": condition})]) == {"aws_iam_role.r"}
	}
}

test_everyone_at_other_resources if {
	open := document({"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": "*"})
	every change in [
		asked.created("aws_sqs_queue_policy.q", {"policy": open}), asked.created("aws_kms_key.k", {"policy": open}),
		asked.created("aws_opensearch_domain.d", {"access_policies": open}), asked.created("aws_lambda_permission.l", {"principal": "*"}),
		asked.created("google_cloud_run_service_iam_member.m", {"role": "roles/run.invoker", "member": "allUsers"}),
		asked.created("google_pubsub_topic_iam_binding.b", {"role": "roles/x", "members": ["user:a", "allAuthenticatedUsers"]}),
	] {
		asked.denied("open_trust", trusted, [change]) == {change.address}
	}
	asked.unknown("open_trust", trusted, [asked.later("aws_lambda_permission.l", {}, {"principal": true})]) == {"aws_lambda_permission.l"}
	asked.unknown("open_trust", trusted, [asked.later("aws_sns_topic_policy.t", {}, {"policy": true})]) == {"aws_sns_topic_policy.t"}
	asked.denied("open_trust", trusted, [asked.created("aws_lambda_permission.l", {"principal": "s3.amazonaws.com"})]) == set()
	asked.denied("open_trust", trusted, [asked.created("aws_sqs_queue.q", {"policy": ""})]) == set()
}
