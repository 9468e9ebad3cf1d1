"""Plans as Terraform shows them for clouds, and policy data with every rule on, for measuring the whole library; it must not leave a rule out by name."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from typing import Any

import yaml
from tests.bench.processes import POLICY_DATA

from lockgate.policy.rules import library_rules

DIGEST = "sha256:" + "a" * 64
AWS, GOOGLE, AZURE = (f"registry.terraform.io/hashicorp/{name}" for name in ("aws", "google", "azurerm"))
TAGS = {"owner": "team-a", "cost-center": "1234", "environment": "dev"}


def everything_on() -> str:
    """The data of `lockgate dev` with every rule of the library listed as its own example lists it, but for every target and without exceptions."""
    data = yaml.safe_load(POLICY_DATA.read_text("utf-8"))
    rules = {name: rule["example"] for name, rule in library_rules().items() if "parameters" in rule}
    data["rules"] = {
        name: [
            {word: value for word, value in entry.items() if word not in {"targets", "exceptions", "require"}}
            for entry in entries
        ]
        for name, entries in copy.deepcopy(rules).items()
    }
    return json.dumps(data)


def cloud_plan(number: int, changes: int) -> dict[str, Any]:
    """A plan of `changes` resources of the kinds that rules look at, of the size that providers make them; different for every `number`."""
    made = [KINDS[index % len(KINDS)](f"{number}-{index}") for index in range(changes)]
    listed: list[dict[str, Any]] = [
        {
            "address": f'module.part["{index}"].{kind}.this',
            "module_address": f'module.part["{index}"]',
            "mode": "managed",
            "type": kind,
            "name": "this",
            "provider_name": provider,
            "change": {
                "actions": ["update"] if index % 3 else ["create"],
                "before": dict(after) if index % 3 else None,
                "after": after,
                "after_unknown": {"id": True, "arn": True, "tags_all": {}},
                "before_sensitive": {},
                "after_sensitive": {},
            },
        }
        for index, (kind, provider, after) in enumerate(made)
    ]
    updates = sum(bool(index % 3) for index in range(changes))
    return {
        "format_version": "1.2",
        "digests": dict.fromkeys(("file_sha256", "inputs_sha256", "semantic_sha256"), DIGEST),
        "fidelity": "exact",
        "incomplete": False,
        "summary": {"create": changes - updates, "update": updates, "delete": 0, "replace": 0},
        "resource_changes": listed,
        "configuration": {
            "provider_config": {"aws": {"name": "aws", "full_name": AWS}},
            "root_module": {"module_calls": {"part": {"source": "./modules/part", "module": _module()}}},
        },
        "provisioners": [],
        "providers": [f"{AWS} 5.90.0 (h1:{'a' * 44}=)"],
    }


def _module() -> dict[str, Any]:
    kinds = {kind for kind, _, _ in (make("x") for make in KINDS)}
    return {
        "resources": [
            {
                "address": f"{kind}.this",
                "mode": "managed",
                "type": kind,
                "name": "this",
                "expressions": {"tags": {"references": ["var.tags"]}, "name": {"references": ["var.name"]}},
            }
            for kind in sorted(kinds)
        ]
    }


Made = tuple[str, str, dict[str, Any]]


def _aws(kind: str, **after: Any) -> Made:
    padding = {f"attribute_{index}": f"value {index} of the provider's own making" for index in range(12)}
    return kind, AWS, {**padding, "region": "eu-central-1", "tags": TAGS, "tags_all": TAGS, **after}


def _policy(name: str) -> str:
    statement = {
        "Effect": "Allow",
        "Action": ["s3:GetObject", "s3:PutObject", "s3:ListBucket"],
        "Resource": [f"arn:aws:s3:::{name}", f"arn:aws:s3:::{name}/*"],
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement] * 4})


def _ingress(port: int) -> dict[str, Any]:
    return {
        "from_port": port,
        "to_port": port,
        "protocol": "tcp",
        "cidr_blocks": ["10.0.0.0/8", "192.168.0.0/16"],
        "ipv6_cidr_blocks": [],
        "security_groups": [],
        "self": False,
        "description": "from inside",
    }


def _rule(name: str) -> Mapping[str, Any]:
    return {"name": name, "source_ranges": ["10.0.0.0/8"], "direction": "INGRESS", "disabled": False}


def _trust() -> str:
    principal = {"Service": "ec2.amazonaws.com"}
    return json.dumps({"Statement": {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal}})


KINDS: tuple[Callable[[str], Made], ...] = (
    lambda n: _aws("aws_instance", instance_type="t3.micro", root_block_device=[{"encrypted": True}], ami=n),
    lambda n: _aws("aws_security_group", name=n, ingress=[_ingress(port) for port in (443, 8080, 9090)]),
    lambda n: _aws("aws_iam_policy", name=n, policy=_policy(n)),
    lambda n: _aws("aws_s3_bucket", bucket=n, force_destroy=False),
    lambda n: _aws("aws_db_instance", identifier=n, instance_class="db.t3.micro", storage_encrypted=True),
    lambda n: _aws("aws_iam_role", name=n, assume_role_policy=_trust(), inline_policy=[]),
    lambda n: _aws("aws_security_group_rule", type="ingress", **_ingress(443), source=n),
    lambda n: _aws("aws_lb_target_group", name=n, port=443, protocol="HTTPS"),
    lambda n: _aws("aws_route53_record", name=n, records=["10.0.0.1"], ttl=60),
    lambda n: ("google_compute_firewall", GOOGLE, {**_rule(n), "allow": [{"protocol": "tcp", "ports": ["443"]}]}),
    lambda n: ("google_project_iam_member", GOOGLE, {"role": "roles/viewer", "member": f"user:{n}@example.com"}),
    lambda n: (
        "azurerm_network_security_rule",
        AZURE,
        {
            "name": n,
            "direction": "Inbound",
            "access": "Allow",
            "protocol": "Tcp",
            "source_address_prefix": "10.0.0.0/8",
            "destination_port_range": "443",
        },
    ),
)
"""What a plan holds, one after the other."""
