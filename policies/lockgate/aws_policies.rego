# METADATA
# title: AWS policy documents
# description: Reads the policy documents, JSON as text, that the plan gives to AWS resources. Fields count whatever their letters, and one value is a list of one.
package lockgate.aws_policies

import data.lockgate.changes
import data.lockgate.configuration
import data.lockgate.settings
import data.lockgate.values

# Type → where a document stands in it → the kind of document.
places := {
	"aws_api_gateway_rest_api": {"policy": "trust"},
	"aws_api_gateway_rest_api_policy": {"policy": "trust"},
	"aws_backup_vault_policy": {"policy": "trust"},
	"aws_cloudwatch_event_bus_policy": {"policy": "trust"},
	"aws_codeartifact_domain_permissions_policy": {"policy_document": "trust"},
	"aws_codeartifact_repository_permissions_policy": {"policy_document": "trust"},
	"aws_dynamodb_resource_policy": {"policy": "trust"},
	"aws_ecr_registry_policy": {"policy": "trust"},
	"aws_ecr_repository_policy": {"policy": "trust"},
	"aws_efs_file_system_policy": {"policy": "trust"},
	"aws_elasticsearch_domain": {"access_policies": "trust"},
	"aws_elasticsearch_domain_policy": {"access_policies": "trust"},
	"aws_glacier_vault": {"access_policy": "trust"},
	"aws_glue_resource_policy": {"policy": "trust"},
	"aws_iam_group_policy": {"policy": "identity"},
	"aws_iam_policy": {"policy": "identity"},
	"aws_iam_role": {"inline_policy.policy": "identity", "assume_role_policy": "trust"},
	"aws_iam_role_policy": {"policy": "identity"},
	"aws_iam_user_policy": {"policy": "identity"},
	"aws_kinesis_resource_policy": {"policy": "trust"},
	"aws_kms_external_key": {"policy": "trust"},
	"aws_kms_key": {"policy": "trust"},
	"aws_kms_key_policy": {"policy": "trust"},
	"aws_kms_replica_key": {"policy": "trust"},
	"aws_opensearch_domain": {"access_policies": "trust"},
	"aws_opensearch_domain_policy": {"access_policies": "trust"},
	"aws_s3_access_point": {"policy": "bucket"},
	"aws_s3_bucket": {"policy": "bucket"},
	"aws_s3_bucket_policy": {"policy": "bucket"},
	"aws_s3control_access_point_policy": {"policy": "bucket"},
	"aws_secretsmanager_secret": {"policy": "trust"},
	"aws_secretsmanager_secret_policy": {"policy": "trust"},
	"aws_sns_topic": {"policy": "trust"},
	"aws_sns_topic_policy": {"policy": "trust"},
	"aws_sqs_queue": {"policy": "trust"},
	"aws_sqs_queue_policy": {"policy": "trust"},
	"aws_ssoadmin_permission_set_inline_policy": {"inline_policy": "identity"},
}

# kind → the texts that stand in the plan, each once; null where one cannot be read. (Whole: see changes.rego.)
texts := written

written[kind] contains text(pair) if {
	some type, _ in changes.standing
	some path, kind in places[type]
	some pair in settings.each(type, path)
	not is_empty(pair)
}

# Positions of the documents of a kind that have one of these texts.
with_text(_, wanted) := set() if wanted == set()

with_text(kind, wanted) := {position |
	some type, _ in changes.standing
	some path, other in places[type]
	other == kind
	verdicts := {pair: true | some pair in settings.each(type, path); text(pair) in wanted; not is_empty(pair)}
	some [position, _] in settings.judged(type, path, verdicts)
} if {
	wanted != set()
}

text(pair) := pair[0] if {
	not values.dark(pair)
	is_string(pair[0])
} else := null

is_empty(pair) if trim_space(pair[0]) == ""

# The same for blocks, which `dynamic` can make without a trace in the configuration: positions whose blocks are neither known nor configured.
unsaid contains position if {
	settings.is_open("aws_iam_role", "inline_policy")
	some position in changes.standing.aws_iam_role
	change := changes.at(position)
	change.change.after_unknown.inline_policy == true
	not configuration.gives(change, "inline_policy")
}

# kind → positions of documents that cannot be read.
unreadable[kind] contains position if {
	some kind, documents in texts
	some position in with_text(kind, {document | some document in documents; not is_policy(document)})
	not unsaid[position]
}

# A document that says what AWS knows, in AWS's words and letters. Anything else cannot be judged by its words.
is_policy(document) if {
	policy := values.json_in(document)
	object.keys(policy) - {"Version", "Id", "Statement"} == set()
	statements := listed(policy, "Statement")
	count(statements) > 0
	every statement in statements {
		is_statement(statement)
	}
}

is_statement(statement) if {
	object.keys(statement) - words == set()
	statement.Effect in {"Allow", "Deny"}
	not has_other_than_texts(statement)
}

has_other_than_texts(statement) if {
	some name in ["Action", "NotAction", "Resource", "NotResource"]
	value := statement[name]
	not are_texts(value)
}

are_texts(value) if is_string(value)

are_texts(value) if {
	is_array(value)
	every item in value {
		is_string(item)
	}
}

words := {"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Principal", "NotPrincipal", "Condition"}

# kind → [text, statement] of every statement that is no deny.
allowing := permitting

permitting[kind] contains [document, statement] if {
	some kind, documents in texts
	some document in documents
	policy := values.json_in(document)
	some statement in listed(policy, "Statement")
	object.get(statement, "Effect", null) != "Deny"
}

# All values of a field, which is one value or a list.
listed(whole, name) := many(value) if {
	value := whole[name]
} else := []

many(value) := value if {
	is_array(value)
} else := [value]

# The texts of a kind that let everyone in, not narrowed by one of these condition keys.
open_to_everyone(kind, keys) := {document |
	some [document, statement] in allowing[kind]
	is_for_everyone(statement)
	not is_narrowed(statement, keys)
}

# Whether a statement is for everyone: `*` as principal or as any kind of principal, or everyone but some.
is_for_everyone(statement) if {
	some principal in listed(statement, "Principal")
	is_everyone(principal)
}

is_for_everyone(statement) if count(listed(statement, "NotPrincipal")) > 0

is_everyone(principal) if trim_space(principal) == "*"

is_everyone(principal) if {
	some _, names in principal
	some name in many(names)
	trim_space(name) == "*"
}

# Whether one of these condition keys narrows a statement to what equals certain values.
is_narrowed(statement, keys) if {
	some condition in listed(statement, "Condition")
	some operator, tests in condition
	not_plain := anything[lower(operator)]
	some key, wanted in tests
	keys[lower(key)]
	count(many(wanted)) > 0
	every value in many(wanted) {
		is_plain(value, not_plain)
	}
}

# What in a value may stand for anything: a policy variable, which can be the very key that it is compared with, and in ARNs wildcards (ArnEquals is ArnLike).
anything := {"stringequals": ["${"], "arnequals": ["${", "*", "?"]}

is_plain(value, not_plain) if {
	is_string(value)
	every part in not_plain {
		not contains(value, part)
	}
}
