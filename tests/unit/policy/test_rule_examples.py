"""Each rule of the library as people meet it: its own example in policy data, derived, compiled, and asked through the shipped engine."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lockgate.contract.decision import Question, Violation
from lockgate.policy.bundle import library_with
from lockgate.policy.embedded import EmbeddedEngine
from lockgate.policy.replay import UNHURRIED
from lockgate.policy.rules import library_rules
from lockgate.testing.policy_engine import AGENT, example_input, example_plan

POLICIES = Path(__file__).parents[3] / "policies" / "lockgate"


def change(kind: str, after: Any = None, *actions: str, **body: Any) -> dict[str, Any]:
    parts = {"actions": list(actions or ["create"]), "before": None, "after": after, "after_unknown": {}, **body}
    provider = f"registry.terraform.io/hashicorp/{kind.split('_', maxsplit=1)[0].replace('azurerm', 'azurerm')}"
    return {
        "address": f"module.m.{kind}.x[0]",
        "mode": "managed",
        "type": kind,
        "name": "x",
        "provider_name": provider,
        "change": parts,
    }


def changes(*listed: dict[str, Any], **summary: int) -> dict[str, Any]:
    counted = {"create": len(listed), "update": 0, "delete": 0, "replace": 0, **summary}
    return example_plan(resource_changes=list(listed), summary=counted)


def unknown(kind: str, *attributes: str, **known: Any) -> dict[str, Any]:
    return changes(change(kind, known, after_unknown=dict.fromkeys(attributes, True)))


def policy(action: str) -> dict[str, str]:
    statement = {"Effect": "Allow", "Action": action, "Resource": "arn:aws:s3:::logs/*"}
    return {"policy": json.dumps({"Statement": statement})}


def trust(principal: str) -> dict[str, str]:
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": principal}}
    return {"assume_role_policy": json.dumps({"Statement": [statement]})}


def ingress(port: int, source: str) -> dict[str, Any]:
    return {"ip_protocol": "tcp", "from_port": port, "to_port": port, "cidr_ipv4": source}


def configuration(**root: Any) -> dict[str, Any]:
    return example_plan(configuration={"root_module": root})


def pod(spec: dict[str, Any]) -> dict[str, Any]:
    return {"manifest": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "shop"}, "spec": spec}}


RESOURCES = {"limits": {"memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Gi"}}
RULE = "aws_vpc_security_group_ingress_rule"
DATA = {"address": "data.external.x", "mode": "data", "type": "external", "name": "x", "expressions": {}}
TAGS = {"owner": "team-a", "cost-center": "1", "environment": "dev"}

CASES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any] | None]] = {
    # rule: what is at fault, what is not, what cannot be told
    "stateful_delete": (
        changes(change("aws_s3_bucket", None, "delete", "create")),
        changes(change("aws_s3_bucket", {}, "update")),
        None,
    ),
    "database_delete": (
        changes(change("aws_db_instance", None, "forget")),
        changes(change("aws_instance", None, "delete")),
        None,
    ),
    "create_before_destroy": (
        changes(change("aws_lb_target_group", {}, "delete", "create")),
        changes(change("aws_lb_target_group", {}, "create", "delete")),
        None,
    ),
    "blast_radius": (changes(delete=11), changes(delete=10), None),
    "public_ingress": (
        changes(change(RULE, ingress(8080, "0.0.0.0/0"))),
        changes(change(RULE, ingress(443, "0.0.0.0/0"))),
        unknown(RULE, "cidr_ipv4", ip_protocol="tcp", from_port=80, to_port=81),
    ),
    "admin_ports": (
        changes(change(RULE, ingress(22, "0.0.0.0/1"))),
        changes(change(RULE, ingress(22, "10.0.0.0/8"))),
        unknown(RULE, "from_port", "to_port", ip_protocol="tcp", cidr_ipv4="0.0.0.0/0"),
    ),
    "iam_wildcard": (
        changes(change("aws_iam_policy", policy("*"))),
        changes(change("aws_iam_policy", policy("s3:GetObject"))),
        None,  # its example leaves what cannot be told to people
    ),
    "broad_role": (
        changes(change("azurerm_role_assignment", {"role_definition_name": "Owner"})),
        changes(change("azurerm_role_assignment", {"role_definition_name": "Reader"})),
        unknown("aws_iam_role_policy_attachment", "policy_arn"),
    ),
    "open_trust": (
        changes(change("aws_iam_role", trust("*"))),
        changes(change("aws_iam_role", trust("arn:aws:iam::1:root"))),
        unknown("aws_iam_role", "assume_role_policy"),
    ),
    "public_bucket": (
        changes(change("aws_s3_bucket_acl", {"acl": "public-read"})),
        changes(change("aws_s3_bucket_acl", {"acl": "private"})),
        unknown("aws_s3_bucket_policy", "policy"),
    ),
    "missing_encryption": (
        changes(change("aws_ebs_volume", {"encrypted": False})),
        changes(change("aws_ebs_volume", {"encrypted": True})),
        unknown("aws_ebs_volume", "encrypted"),
    ),
    "required_tags": (
        changes(change("aws_vpc", {"tags": {"owner": "nobody"}})),
        changes(change("aws_vpc", {"tags": TAGS})),
        unknown("aws_vpc", "tags"),
    ),
    "allowed_instance_types": (
        changes(change("aws_instance", {"instance_type": "p5.48xlarge"})),
        changes(change("aws_instance", {"instance_type": "t3.micro"})),
        unknown("aws_instance", "instance_type"),
    ),
    "allowed_providers": (
        changes(change("azurerm_subnet", {})),
        changes(change("aws_vpc", {})),
        None,
    ),
    "allowed_modules": (
        configuration(module_calls={"m": {"source": "git::https://example.com/m.git"}}),
        configuration(module_calls={"m": {"source": "./modules/m"}}),
        None,
    ),
    "banned_provisioners": (
        example_plan(provisioners=["aws_instance.a: local-exec"]),
        example_plan(),
        None,
    ),
    "residency": (
        changes(change("google_storage_bucket", {"location": "US"})),
        changes(change("google_storage_bucket", {"location": "EUROPE-WEST1"})),
        unknown("aws_s3_bucket", "region"),
    ),
    "kubernetes_privileged": (
        changes(change("kubernetes_manifest", pod({"hostPID": True}))),
        changes(change("kubernetes_manifest", pod({"hostPID": False}))),
        None,  # its example leaves what cannot be told to people
    ),
    "kubernetes_host_path": (
        changes(change("kubernetes_manifest", pod({"volumes": [{"hostPath": {"path": "/etc"}}]}))),
        changes(change("kubernetes_manifest", pod({"volumes": [{"emptyDir": {}}]}))),
        unknown("kubernetes_manifest", "manifest"),
    ),
    "kubernetes_image_tag": (
        changes(change("kubernetes_manifest", pod({"containers": [{"image": "registry:5000/shop"}]}))),
        changes(change("kubernetes_manifest", pod({"containers": [{"image": "registry:5000/shop:1.2"}]}))),
        unknown("helm_release", "metadata"),
    ),
    "kubernetes_limits": (
        changes(change("kubernetes_manifest", pod({"containers": [{"image": "shop:1"}]}))),
        changes(change("kubernetes_manifest", pod({"containers": [{"resources": RESOURCES}]}))),
        unknown("kubectl_manifest", "yaml_body"),
    ),
    "kubernetes_delete": (
        changes(change("kubernetes_namespace_v1", None, "delete")),
        changes(change("kubernetes_config_map", None, "delete")),
        changes(change("helm_release", None, "delete")),
    ),
    "external_data": (
        configuration(resources=[DATA]),
        configuration(resources=[{**DATA, "type": "aws_ami"}]),
        None,
    ),
}


def data() -> str:
    """Policy data with every rule on by the first entry of its example, for every target."""
    rules = {name: rule["example"][0] for name, rule in library_rules().items() if name in CASES}
    return json.dumps(
        {
            "version": 1,
            "roles": {"dev": {}},
            "bindings": [{"subject": {"issuer": AGENT["issuer"], "id": AGENT["subject"]}, "roles": ["dev"]}],
            "regions": {"default": ["eu"]},
            "limits": [{"incomplete": "allow", "provisioners": "allow"}],
            "approvals": {"approvers": ["dev"], "standard": {"count": 1, "groups": [], "expires_in_seconds": 60}},
            "rules": {name: [{**_everywhere(entry), "effect": "deny"}] for name, entry in rules.items()},
        }
    )


def _everywhere(entry: dict[str, Any]) -> dict[str, Any]:
    return {word: value for word, value in entry.items() if word not in {"targets", "exceptions", "require"}}


@pytest.fixture(scope="module")
def engine() -> Iterator[EmbeddedEngine]:
    """One for all: starting one costs more than every question here."""
    engine = EmbeddedEngine(library_with(data(), "example.json"), UNHURRIED)
    yield engine
    asyncio.run(engine.close())


def found(engine: EmbeddedEngine, plan: dict[str, Any], question: Question = Question.PLAN) -> dict[str, Violation]:
    decision = asyncio.run(engine.decide(question, example_input(question, plan=plan)))
    assert not [violation for violation in decision.violations if violation.rule not in CASES], decision
    return {violation.rule: violation for violation in decision.violations}


@pytest.mark.parametrize("name", CASES)
def test_what_is_at_fault_is_denied_by_its_rule_when_planned_and_when_applied(
    engine: EmbeddedEngine, name: str
) -> None:
    for question in (Question.PLAN, Question.APPLY):
        assert found(engine, CASES[name][0], question)[name].message == library_rules()[name]["message"]


@pytest.mark.parametrize("name", CASES)
def test_what_is_not_at_fault_passes(engine: EmbeddedEngine, name: str) -> None:
    assert name not in found(engine, CASES[name][1])


@pytest.mark.parametrize("name", [name for name, (_, _, untold) in CASES.items() if untold is not None])
def test_what_cannot_be_told_is_denied_and_named(engine: EmbeddedEngine, name: str) -> None:
    plan = CASES[name][2]
    assert plan is not None
    assert found(engine, plan)[name].details["unknown"] == [plan["resource_changes"][0]["address"]]


@pytest.mark.parametrize("value", ["-", "1e400", "22.5", "+22", "", "٢٢", 1e30, True, [], {"a": 1}])
def test_what_is_no_port_is_one_that_cannot_be_told_and_stops_no_engine(engine: EmbeddedEngine, value: Any) -> None:
    """OPA's Wasm takes more texts for numbers than its server does, and traps when it counts with them."""
    for body in ({**ingress(65_535, "0.0.0.0/0"), "from_port": value}, ingress(22, f"0.0.0.0/{value}")):
        assert "admin_ports" in found(engine, changes(change(RULE, body)))


@pytest.mark.parametrize("ending", [" x", "] x [", ",{}", "{}"])
def test_a_policy_that_goes_on_after_its_end_cannot_be_told(engine: EmbeddedEngine, ending: str) -> None:
    """OPA's Wasm stops reading where a JSON value ends; its server refuses the text."""
    good = trust("arn:aws:iam::1:root")["assume_role_policy"]
    plan = changes(change("aws_iam_role", {"assume_role_policy": good + ending}))
    assert found(engine, plan)["open_trust"].details["unknown_count"] == 1


@pytest.mark.parametrize("name", CASES)
def test_no_value_of_the_plan_stands_in_a_denial(engine: EmbeddedEngine, name: str) -> None:
    """Addresses, sources and kinds of commands may; what an attribute holds may be a secret that nobody marked."""
    details = json.dumps(found(engine, CASES[name][0])[name].details)
    for item in CASES[name][0]["resource_changes"]:
        for value in (item["change"]["after"] or {}).values():
            assert not isinstance(value, str) or value not in details


def test_every_rule_to_configure_has_rego_tests_that_name_it() -> None:
    tests = "".join(file.read_text() for file in POLICIES.rglob("*_test.rego"))
    listed = [name for name, rule in library_rules().items() if "parameters" in rule]
    assert [name for name in listed if f'"{name}"' not in tests and f".{name}" not in tests] == []
